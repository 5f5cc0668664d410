<?php
/**
 * The admin side as a whole.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Menus, assets, and the one way in which admin forms arrive: nonce, capability, work, redirect.
 */
final class Sluice_Admin {

	/** Hooks. */
	public static function hooks(): void {
		add_action( 'admin_menu', array( self::class, 'menus' ) );
		add_action( 'admin_enqueue_scripts', array( self::class, 'assets' ) );
		add_action( 'admin_post_sluice', array( self::class, 'act' ) );
		add_action( 'admin_action_sluice_file', array( self::class, 'file' ) );
		add_filter( 'plugin_action_links_' . plugin_basename( SLUICE_FILE ), array( self::class, 'links' ) );
		add_filter( 'set_screen_option_sluice_jobs_per_page', array( self::class, 'per_page' ), 10, 3 );
		Sluice_Settings::hooks();
		Sluice_Widget::hooks();
		Sluice_Post_Panel::hooks();
		Sluice_Profile::hooks();
	}

	/** The two pages. */
	public static function menus(): void {
		$screen = add_menu_page( __( 'Sluice jobs', 'sluice' ), __( 'Sluice', 'sluice' ), Sluice_Caps::VIEW, 'sluice', array( 'Sluice_Screen', 'render' ), 'dashicons-randomize', 26 );
		add_action( 'load-' . $screen, array( 'Sluice_Screen', 'load' ) );
		add_options_page( __( 'Sluice settings', 'sluice' ), __( 'Sluice', 'sluice' ), Sluice_Caps::MANAGE, 'sluice-settings', array( 'Sluice_Settings', 'render' ) );
	}

	/**
	 * Styles and scripts, on our pages only.
	 *
	 * @param string $hook The page.
	 */
	public static function assets( string $hook ): void {
		if ( ! in_array( $hook, array( 'toplevel_page_sluice', 'settings_page_sluice-settings', 'index.php', 'post.php', 'edit.php' ), true ) ) {
			return;
		}
		wp_enqueue_style( 'sluice', plugins_url( 'assets/sluice.css', SLUICE_FILE ), array(), SLUICE_VERSION );
		if ( ! in_array( $hook, array( 'toplevel_page_sluice', 'settings_page_sluice-settings' ), true ) ) {
			return;
		}
		wp_enqueue_script( 'sluice', plugins_url( 'assets/sluice.js', SLUICE_FILE ), array( 'wp-a11y' ), SLUICE_VERSION, true );
		$settings = array(
			'jobs'     => esc_url_raw( rest_url( 'sluice/v1/jobs' ) ),
			'selfTest' => esc_url_raw( rest_url( 'sluice/v1/self-test' ) ),
			'nonce'    => wp_create_nonce( 'wp_rest' ),
			/* translators: %d: how many. */
			'changed'  => __( 'Jobs that changed: %d', 'sluice' ),
			'more'     => __( 'There are newer jobs. Reload the page to see them.', 'sluice' ),
		);
		wp_add_inline_script( 'sluice', 'window.sluiceSettings = ' . wp_json_encode( $settings, JSON_HEX_TAG | JSON_HEX_AMP ) . ';', 'before' );
	}

	/**
	 * A link below the plugin's name.
	 *
	 * @param string[] $links Links.
	 */
	public static function links( array $links ): array {
		if ( current_user_can( Sluice_Caps::MANAGE ) ) {
			array_unshift( $links, '<a href="' . esc_url( admin_url( 'options-general.php?page=sluice-settings' ) ) . '">' . esc_html__( 'Settings', 'sluice' ) . '</a>' );
		}
		return $links;
	}

	/**
	 * The screen option.
	 *
	 * @param mixed  $keep   What to store.
	 * @param string $option Its name.
	 * @param int    $value  What was asked for.
	 */
	public static function per_page( mixed $keep, string $option, int $value ): int {
		return min( 50, max( 5, $value ) );
	}

	/**
	 * A form with one button.
	 *
	 * @param string $what   What it does.
	 * @param string $id     To what.
	 * @param string $label  The button's text.
	 * @param string $spoken What a screen reader says instead.
	 */
	public static function button( string $what, string $id, string $label, string $spoken = '' ): string {
		return sprintf(
			'<form method="post" action="%s" class="sluice-action"><input type="hidden" name="action" value="sluice"><input type="hidden" name="what" value="%s"><input type="hidden" name="id" value="%s">%s<button type="submit" class="button button-small"%s>%s</button></form>',
			esc_url( admin_url( 'admin-post.php' ) ),
			esc_attr( $what ),
			esc_attr( $id ),
			wp_nonce_field( self::nonce( $what, $id ), '_wpnonce', true, false ),
			'' === $spoken ? '' : ' aria-label="' . esc_attr( $spoken ) . '"',
			esc_html( $label )
		);
	}

	/**
	 * A nonce is good for one thing to be done to one object.
	 *
	 * @param string $what What.
	 * @param string $id   To what.
	 */
	public static function nonce( string $what, string $id ): string {
		return 'sluice_' . $what . '_' . $id;
	}

	/**
	 * Where an editor opens an artifact of a post: an address that stays, good for all who may edit the post.
	 *
	 * @param int    $post_id The post.
	 * @param string $id      The artifact.
	 */
	public static function file_url( int $post_id, string $id ): string {
		return admin_url( 'admin.php?action=sluice_file&post=' . $post_id . '&file=' . $id );
	}

	/**
	 * Leads to a fresh link of an artifact. This site's server asks for it; the browser is only sent there.
	 *
	 * Like every page below admin.php it is for who is signed in; others sign in and come back. It changes nothing
	 * and takes no nonce, so that it can be kept and passed on: whom a stranger's page sends here sees a file of
	 * their own, and the gateway is asked only for who may edit the post, about a file that the post has.
	 */
	public static function file(): void {
		// What wp_die() sends as well; before WordPress 6.3 its own headers let a browser store the page.
		add_filter( 'nocache_headers', static fn(): array => array( 'Cache-Control' => 'no-store' ) );
		nocache_headers();
		header( 'Referrer-Policy: no-referrer' );
		// phpcs:disable WordPress.Security.NonceVerification.Recommended -- looking changes nothing.
		$post_id = self::matching( '/^[1-9][0-9]{0,17}$/D', $_GET['post'] ?? null );
		$id      = self::matching( Sluice_Callback::ARTIFACT_ID, $_GET['file'] ?? null );
		// phpcs:enable
		// Who may not edit the post hears the same, whatever there is.
		if ( '' === $post_id || ! current_user_can( 'edit_post', (int) $post_id ) ) {
			wp_die( esc_html__( 'You are not allowed to do that.', 'sluice' ), '', array( 'response' => 403 ) );
		}
		$known = '' !== $id && in_array( $id, array_column( Sluice_Posts::artifacts( (int) $post_id ), 'id' ), true );
		$link  = $known ? Sluice_Pull::artifact( $id ) : '';
		if ( null === $link ) {
			wp_die( esc_html__( 'The gateway gave no link to this file just now. Try again in a few minutes.', 'sluice' ), '', array( 'response' => 503 ) );
		}
		if ( '' === $link ) {
			wp_die( esc_html__( 'There is no such file here. A newer result may have taken its place, or the gateway keeps it no longer.', 'sluice' ), '', array( 'response' => 404 ) );
		}
		$host = (string) wp_parse_url( $link, PHP_URL_HOST );
		// The object store is another host. The link is the gateway's, and was checked.
		add_filter( 'allowed_redirect_hosts', static fn( array $hosts ): array => array( ...$hosts, $host ) );
		wp_safe_redirect( $link, 303, 'Sluice' );
		exit;
	}

	/**
	 * A parameter that has the form of an id, or nothing. Another one is not made to fit.
	 *
	 * @param string $form  The form.
	 * @param mixed  $value The parameter.
	 */
	private static function matching( string $form, mixed $value ): string {
		return is_string( $value ) && 1 === preg_match( $form, $value ) ? $value : '';
	}

	/** Takes a form. */
	public static function act(): void {
		$what = isset( $_POST['what'] ) && is_string( $_POST['what'] ) ? sanitize_key( $_POST['what'] ) : '';
		$id   = isset( $_POST['id'] ) && is_string( $_POST['id'] ) ? sanitize_key( $_POST['id'] ) : '';
		check_admin_referer( self::nonce( $what, $id ) );
		$said = match ( $what ) {
			'retry', 'dismiss'   => self::ask( $what, $id ),
			'self_test'          => self::test(),
			'fetch_keys'         => self::fetch_keys(),
			'accept', 'decline'  => self::settle( $what, (int) $id ),
			default              => null,
		};
		if ( null === $said ) {
			wp_die( esc_html__( 'You are not allowed to do that.', 'sluice' ), '', array( 'response' => 403 ) );
		}
		$back = wp_get_referer();
		wp_safe_redirect( add_query_arg( 'sluice_said', $said, $back ? $back : admin_url() ) );
		exit;
	}

	/**
	 * Retry and dismiss.
	 *
	 * @param string $what Which.
	 * @param string $id   The job.
	 */
	private static function ask( string $what, string $id ): ?string {
		$job = Sluice_Jobs::find( $id );
		if ( ! $job || ! Sluice_Caps::may_see( $job ) ) {
			return null;
		}
		if ( ! in_array( $job->state, 'retry' === $what ? array( 'deadletter' ) : array( 'failed', 'deadletter' ), true ) ) {
			return 'over';
		}
		Sluice_Requests::ask( $what, $job->job_id, get_current_user_id() );
		return 'asked';
	}

	/** The self-test. */
	private static function test(): ?string {
		if ( ! current_user_can( Sluice_Caps::MANAGE ) ) {
			return null;
		}
		Sluice_Requests::ask( 'self_test', '', get_current_user_id() );
		return 'testing';
	}

	/** Fetching keys. */
	private static function fetch_keys(): ?string {
		if ( ! current_user_can( Sluice_Caps::MANAGE ) ) {
			return null;
		}
		return is_wp_error( Sluice_Keys::fetch() ) ? 'not_fetched' : 'fetched';
	}

	/**
	 * Taking or dropping a proposal.
	 *
	 * @param string $what    Which.
	 * @param int    $post_id The post.
	 */
	private static function settle( string $what, int $post_id ): ?string {
		$proposal = $post_id ? Sluice_Proposals::for_post( $post_id ) : null;
		if ( ! $proposal || ! current_user_can( 'edit_post', $post_id ) ) {
			return null;
		}
		if ( 'decline' === $what ) {
			Sluice_Proposals::drop( $proposal );
			return 'declined';
		}
		if ( 'publish' === get_post_status( $post_id ) && ! current_user_can( 'publish_post', $post_id ) ) {
			return null;
		}
		return is_wp_error( Sluice_Proposals::accept( $proposal ) ) ? 'not_accepted' : 'accepted';
	}

	/** What became of the last form, once. */
	public static function notice(): void {
		// phpcs:ignore WordPress.Security.NonceVerification.Recommended -- a word out of a fixed list is shown.
		$said  = isset( $_GET['sluice_said'] ) && is_string( $_GET['sluice_said'] ) ? sanitize_key( $_GET['sluice_said'] ) : '';
		$words = array(
			'asked'        => __( 'Noted. The gateway does it when it reports next, usually within half a minute.', 'sluice' ),
			'over'         => __( 'This job is not waiting for anything any more.', 'sluice' ),
			'testing'      => __( 'The self-test waits for the gateway.', 'sluice' ),
			'fetched'      => __( 'The keys were fetched.', 'sluice' ),
			'not_fetched'  => __( 'The keys could not be fetched; the ones from before stay in force.', 'sluice' ),
			'accepted'     => __( 'The update was taken over. The text from before is among the revisions.', 'sluice' ),
			'not_accepted' => __( 'The update could not be taken over.', 'sluice' ),
			'declined'     => __( 'The update was dropped.', 'sluice' ),
		);
		if ( isset( $words[ $said ] ) ) {
			$kind = str_starts_with( $said, 'not_' ) ? 'error' : 'success';
			printf( '<div class="notice notice-%s is-dismissible"><p>%s</p></div>', esc_attr( $kind ), esc_html( $words[ $said ] ) );
		}
	}
}
