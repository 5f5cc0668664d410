<?php
/**
 * Asking the gateway.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * The gateway's reports come by themselves. For a site that they do not reach, an administrator can let it
 * ask, in wp-config.php: SLUICE_PULL_URL (the gateway's `/site/v1/<tenant>`) and SLUICE_SITE_TOKEN. This
 * site's server asks, never a browser; the token is in no option, no page and no log.
 */
final class Sluice_Pull {

	/** Seconds between two questions. */
	private const PAUSE = 15;
	/** Seconds that the gateway may take. */
	private const PATIENCE = 5;
	private const MAX_BODY = 262144;
	/** Jobs in motion that one question names, as many as the gateway takes. */
	private const MAX_IDS = 50;

	/** Whether this site asks. The constants are those of one tenant, so of a network's main site. */
	public static function is_on(): bool {
		return defined( 'SLUICE_PULL_URL' ) && defined( 'SLUICE_SITE_TOKEN' ) && is_main_site() && '' !== self::tenant();
	}

	/** The tenant that the address names; empty where it is no address to ask at. */
	private static function tenant(): string {
		$url = rtrim( (string) constant( 'SLUICE_PULL_URL' ), '/' );
		return Sluice_Keys::may_fetch( $url ) && 1 === preg_match( '#^[^?\#]+/site/v1/([a-z0-9][a-z0-9_-]{0,63})$#D', $url, $found ) ? $found[1] : '';
	}

	/** Asks, unless that was done a moment ago. What goes wrong is kept for the settings page. */
	public static function run(): void {
		if ( ! self::is_on() || time() - self::state()['at'] < self::PAUSE ) {
			return;
		}
		// First, so that who comes meanwhile does not ask as well.
		self::remember( self::state()['error'] );
		$error = self::requests();
		self::remember( '' === $error ? self::jobs() : $error );
	}

	/** Brings what editors ask for, and takes what became of it. */
	private static function requests(): string {
		$open = Sluice_Requests::hand_out();
		if ( ! $open ) {
			return '';
		}
		$body = wp_json_encode(
			array(
				'schema_version' => 1,
				'requests'       => $open,
			)
		);
		$said = self::ask( 'POST', 'requests', $body );
		if ( is_string( $said ) ) {
			return $said;
		}
		foreach ( $said->answers as $answer ) {
			Sluice_Requests::answer( $answer['id'], $answer['outcome'] );
		}
		return '';
	}

	/** Takes the states of the newest jobs, and of those that are in motion here. */
	private static function jobs(): string {
		$ids  = Sluice_Jobs::in_motion( self::MAX_IDS );
		$said = self::ask( 'GET', 'jobs' . ( $ids ? '?ids=' . implode( ',', $ids ) : '' ) );
		if ( is_string( $said ) ) {
			return $said;
		}
		return Sluice_Jobs::report( self::tenant(), $said->jobs ) ? '' : __( 'The database could not take the answer.', 'sluice' );
	}

	/**
	 * The gateway's keys.
	 *
	 * @return array|WP_Error As wp_remote_get.
	 */
	public static function keys(): array|WP_Error {
		return self::send( 'GET', 'keys' );
	}

	/**
	 * A fresh link to an artifact.
	 *
	 * @param string $id The artifact.
	 * @return string|null The link; empty where there is none any more; null where the gateway does not say.
	 */
	public static function artifact( string $id ): ?string {
		if ( ! self::is_on() || 1 !== preg_match( Sluice_Callback::ARTIFACT_ID, $id ) ) {
			return '';
		}
		$answer = self::send( 'GET', 'artifacts?id=' . $id );
		$status = (int) wp_remote_retrieve_response_code( $answer );
		if ( 404 === $status ) {
			return '';
		}
		$said = 200 === $status ? Sluice_Json::read( (string) wp_remote_retrieve_body( $answer ), 4 ) : null;
		return Sluice_Callback::is_link( $said['url'] ?? null ) ? $said['url'] : null;
	}

	/**
	 * One question. What is answered has the form of a report.
	 *
	 * @param string $method The method.
	 * @param string $path   Path and query.
	 * @param string $body   JSON, or empty.
	 * @return Sluice_Status|string What was said, or why nothing.
	 */
	private static function ask( string $method, string $path, string $body = '' ): Sluice_Status|string {
		$answer = self::send( $method, $path, $body );
		if ( is_wp_error( $answer ) ) {
			return __( 'The gateway could not be reached.', 'sluice' );
		}
		$status = (int) wp_remote_retrieve_response_code( $answer );
		if ( 401 === $status ) {
			return __( 'The gateway does not accept SLUICE_SITE_TOKEN.', 'sluice' );
		}
		$said = 200 === $status ? Sluice_Status::read( (string) wp_remote_retrieve_body( $answer ) ) : array();
		return is_array( $said ) ? __( 'The gateway gave no answer that makes sense.', 'sluice' ) : $said;
	}

	/**
	 * One request, with the token, and nowhere else with it.
	 *
	 * @param string $method The method.
	 * @param string $path   Path and query.
	 * @param string $body   JSON, or empty.
	 */
	private static function send( string $method, string $path, string $body = '' ): array|WP_Error {
		return wp_safe_remote_request(
			rtrim( (string) constant( 'SLUICE_PULL_URL' ), '/' ) . '/' . $path,
			array(
				'method'              => $method,
				'timeout'             => self::PATIENCE,
				'redirection'         => 0,
				'limit_response_size' => self::MAX_BODY,
				'headers'             => array(
					'Accept'        => 'application/json',
					'Content-Type'  => 'application/json',
					'Authorization' => 'Bearer ' . constant( 'SLUICE_SITE_TOKEN' ),
				),
				'body'                => '' === $body ? null : $body,
			)
		);
	}

	/**
	 * When this site asked last, and what went wrong then.
	 *
	 * @return array{at:int,error:string}
	 */
	public static function state(): array {
		$state = get_option( 'sluice_pull_state', array() );
		$none  = array(
			'at'    => 0,
			'error' => '',
		);
		return array_merge( $none, is_array( $state ) ? $state : array() );
	}

	/** When the gateway last answered, or 0. */
	public static function heard_at(): int {
		$state = self::state();
		return self::is_on() && '' === $state['error'] ? $state['at'] : 0;
	}

	/**
	 * Remembers that this site asked.
	 *
	 * @param string $error What went wrong.
	 */
	private static function remember( string $error ): void {
		update_option(
			'sluice_pull_state',
			array(
				'at'    => time(),
				'error' => $error,
			),
			false
		);
	}
}
