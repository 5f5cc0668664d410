<?php
/**
 * Site Health.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Says what would keep results from arriving, before somebody misses them.
 */
final class Sluice_Health {

	/** Hooks. */
	public static function hooks(): void {
		add_filter( 'site_status_tests', array( self::class, 'tests' ) );
		add_filter( 'debug_information', array( self::class, 'information' ) );
	}

	/**
	 * Adds our tests.
	 *
	 * @param array $tests Tests.
	 */
	public static function tests( array $tests ): array {
		foreach ( array( 'keys', 'contact', 'header', 'clock', 'tls', 'permalinks', 'database', 'follow_ups' ) as $name ) {
			$tests['direct'][ 'sluice_' . $name ] = array(
				'label' => 'Sluice: ' . $name,
				'test'  => array( self::class, $name ),
			);
		}
		return $tests;
	}

	/** Keys, and the extension that makes them cheap. */
	public static function keys(): array {
		if ( ! Sluice_Keys::usable() ) {
			return self::result( 'keys', 'critical', __( 'Sluice has no key of its gateway', 'sluice' ), __( 'Every request of the gateway is refused until its public keys are in the settings.', 'sluice' ) );
		}
		if ( ! extension_loaded( 'sodium' ) ) {
			return self::result( 'keys', 'recommended', __( 'Signatures are checked slowly', 'sluice' ), __( 'PHP’s sodium extension is missing. WordPress brings a substitute that takes hundreds of milliseconds for each request of the gateway.', 'sluice' ) );
		}
		$state = Sluice_Keys::fetch_state();
		if ( '' !== (string) get_option( 'sluice_jwks_url', '' ) && ! Sluice_Keys::is_fixed() && ( '' !== $state['error'] || time() - $state['at'] > DAY_IN_SECONDS ) ) {
			return self::result( 'keys', 'recommended', __( 'The gateway’s keys could not be refreshed', 'sluice' ), __( 'The keys from before are still in force. When the gateway changes its key, its requests will be refused.', 'sluice' ) . ' ' . $state['error'] );
		}
		return self::result( 'keys', 'good', __( 'Sluice knows its gateway’s keys', 'sluice' ), '' );
	}

	/** Whether the gateway is heard. */
	public static function contact(): array {
		$seen = Sluice_Options::seen();
		if ( time() - max( $seen['at'], Sluice_Pull::heard_at() ) > 15 * MINUTE_IN_SECONDS ) {
			$refused = Sluice_Options::last_refusal();
			$why     = $refused['at'] > $seen['at'] ? ' ' . Sluice_Words::refusal( $refused['reason'] ) : '';
			return self::result( 'contact', 'recommended', __( 'The Sluice gateway is silent', 'sluice' ), __( 'A gateway reports every minute, even when there is nothing new. The states on the jobs screen may be old.', 'sluice' ) . $why );
		}
		return self::result( 'contact', 'good', __( 'The Sluice gateway reports', 'sluice' ), '' );
	}

	/** Whether Authorization arrives. */
	public static function header(): array {
		$seen = Sluice_Options::seen();
		if ( $seen['at'] && 'X-Sluice-Authorization' !== $seen['header'] ) {
			return self::result( 'header', 'recommended', __( 'A header of the Sluice gateway is removed', 'sluice' ), __( 'Tokens arrive by Authorization only: something in between removes X-Sluice-Authorization. Other plugins or the web server may take Authorization as well one day.', 'sluice' ) );
		}
		return self::result( 'header', 'good', __( 'Sluice’s header arrives', 'sluice' ), '' );
	}

	/** Clocks. */
	public static function clock(): array {
		$skew = Sluice_Options::seen()['skew'];
		if ( abs( $skew ) > 20 || in_array( Sluice_Options::last_refusal()['reason'], array( 'expired', 'not_yet' ), true ) ) {
			return self::result( 'clock', 'recommended', __( 'The clocks of site and Sluice gateway differ', 'sluice' ), __( 'Tokens live for a minute; with half a minute of difference requests are refused. Let both hosts set their clocks by NTP.', 'sluice' ) );
		}
		return self::result( 'clock', 'good', __( 'The clocks of site and Sluice gateway agree', 'sluice' ), '' );
	}

	/** TLS. */
	public static function tls(): array {
		$seen = Sluice_Options::seen();
		if ( ! wp_is_using_https() || ( $seen['at'] && ! $seen['https'] ) ) {
			return self::result( 'tls', 'recommended', __( 'Results of the Sluice gateway arrive without TLS', 'sluice' ), __( 'Nobody can change them on their way, but everybody there can read them. If a proxy ends TLS for this site, let it say so to WordPress.', 'sluice' ) );
		}
		return self::result( 'tls', 'good', __( 'Results of the Sluice gateway arrive by TLS', 'sluice' ), '' );
	}

	/** Permalinks. */
	public static function permalinks(): array {
		if ( '' === (string) get_option( 'permalink_structure' ) ) {
			return self::result( 'permalinks', 'good', __( 'Sluice works without pretty permalinks', 'sluice' ), __( 'Leave the gateway’s callback at /?rest_route=/sluice/v1/callbacks.', 'sluice' ) );
		}
		return self::result( 'permalinks', 'good', __( 'Sluice’s address works in both forms', 'sluice' ), '' );
	}

	/** Transactions. */
	public static function database(): array {
		if ( ! Sluice_Schema::is_transactional() ) {
			return self::result( 'database', 'critical', __( 'The database cannot keep Sluice’s promise', 'sluice' ), __( 'The tables of posts and of Sluice must be there and use InnoDB, so that a result has its effect exactly once even when the server dies in the midst.', 'sluice' ) );
		}
		return self::result( 'database', 'good', __( 'Sluice’s tables are sound', 'sluice' ), '' );
	}

	/** Follow-ups. */
	public static function follow_ups(): array {
		$late = time() - (int) get_option( 'sluice_swept_at', 0 ) > 15 * MINUTE_IN_SECONDS;
		if ( Sluice_Outbox::given_up() || ( $late && Sluice_Outbox::due() > 20 ) || ! wp_next_scheduled( Sluice_Plugin::EVENT ) ) {
			return self::result( 'follow_ups', 'recommended', __( 'Sluice’s follow-ups do not get done', 'sluice' ), __( 'Mails or actions of other plugins failed five times, or WordPress’s scheduled events do not run.', 'sluice' ) );
		}
		return self::result( 'follow_ups', 'good', __( 'Sluice’s follow-ups get done', 'sluice' ), '' );
	}

	/**
	 * A result.
	 *
	 * @param string $name        The test.
	 * @param string $status      `good`, `recommended` or `critical`.
	 * @param string $label       The headline.
	 * @param string $description What to do.
	 */
	private static function result( string $name, string $status, string $label, string $description ): array {
		return array(
			'label'       => $label,
			'status'      => $status,
			'badge'       => array(
				'label' => 'Sluice',
				'color' => 'blue',
			),
			'description' => '' === $description ? '' : '<p>' . esc_html( $description ) . '</p>',
			'actions'     => sprintf( '<p><a href="%s">%s</a></p>', esc_url( admin_url( 'options-general.php?page=sluice-settings' ) ), esc_html__( 'Sluice settings', 'sluice' ) ),
			'test'        => 'sluice_' . $name,
		);
	}

	/**
	 * For support; holds no secret.
	 *
	 * @param array $information Sections.
	 */
	public static function information( array $information ): array {
		$seen                  = Sluice_Options::seen();
		$fields                = array(
			'version'      => SLUICE_VERSION,
			'site_uuid'    => Sluice_Options::site_uuid(),
			'keys'         => implode( ', ', array_keys( Sluice_Keys::usable() ) ),
			'last_contact' => $seen['at'] ? gmdate( 'c', $seen['at'] ) : '-',
			'header'       => $seen['header'],
			'skew'         => $seen['skew'] . ' s',
			'outbox_due'   => (string) Sluice_Outbox::due(),
			'last_refusal' => Sluice_Options::last_refusal()['reason'],
			'pull'         => Sluice_Pull::is_on() ? 'on ' . Sluice_Pull::state()['error'] : 'off',
		);
		$information['sluice'] = array(
			'label'  => 'Sluice',
			'fields' => array(),
		);
		foreach ( $fields as $name => $value ) {
			$information['sluice']['fields'][ $name ] = array(
				'label' => $name,
				'value' => $value,
			);
		}
		return $information;
	}
}
