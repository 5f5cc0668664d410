<?php
/**
 * The plugin as a whole.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Activation, the recurring event, and which part hooks where.
 */
final class Sluice_Plugin {

	public const EVENT = 'sluice_sweep';

	/** Hooks. */
	public static function hooks(): void {
		add_action( 'plugins_loaded', array( self::class, 'load' ) );
		add_action( 'init', array( 'Sluice_Posts', 'register_meta' ) );
		add_action( 'rest_api_init', array( 'Sluice_Rest', 'register' ) );
		add_action( self::EVENT, array( self::class, 'sweep' ) );
		add_action( 'admin_init', array( self::class, 'ensure_event' ) );
		add_filter( 'cron_schedules', array( self::class, 'schedules' ) );
		add_filter( 'wpmu_drop_tables', array( self::class, 'tables_of_site' ), 10, 2 );
		Sluice_Guard::hooks();
		Sluice_Health::hooks();
		Sluice_Privacy::hooks();
		if ( is_admin() ) {
			Sluice_Admin::hooks();
		}
	}

	/** Translations, and tables after an update or on a new site of a network. */
	public static function load(): void {
		load_plugin_textdomain( 'sluice', false, dirname( plugin_basename( SLUICE_FILE ) ) . '/languages' );
		if ( ! wp_installing() ) {
			Sluice_Schema::ensure();
		}
	}

	/**
	 * Activation. On a network, other sites get theirs with their first request.
	 */
	public static function activate(): void {
		if ( ! function_exists( 'sodium_crypto_sign_verify_detached' ) ) {
			wp_die( esc_html__( 'Sluice needs libsodium, which WordPress brings along; this site has removed it.', 'sluice' ) );
		}
		delete_option( 'sluice_db_version' );
		Sluice_Schema::ensure();
		self::ensure_event();
	}

	/** Deactivation: nothing runs any more; what was stored stays. */
	public static function deactivate(): void {
		wp_clear_scheduled_hook( self::EVENT );
	}

	/** The one recurring event, put back if it got lost. */
	public static function ensure_event(): void {
		if ( ! wp_next_scheduled( self::EVENT ) ) {
			wp_schedule_event( time() + 60, 'sluice_minutes', self::EVENT );
		}
	}

	/**
	 * Our interval.
	 *
	 * @param array $schedules The intervals.
	 */
	public static function schedules( array $schedules ): array {
		$schedules['sluice_minutes'] = array(
			'interval' => 300,
			'display'  => 'Sluice',
		);
		return $schedules;
	}

	/** What the recurring event does. */
	public static function sweep(): void {
		update_option( 'sluice_swept_at', time(), false );
		Sluice_Pull::run();
		Sluice_Outbox::run( 100, 20.0 );
		Sluice_Outbox::sweep();
		Sluice_Inbox::sweep();
		Sluice_Requests::sweep();
		Sluice_Jobs::sweep( time() - Sluice_Options::retention_days() * DAY_IN_SECONDS );
		if ( Sluice_Keys::are_due() ) {
			Sluice_Keys::fetch();
		}
	}

	/**
	 * The tables that go with a site of a network.
	 *
	 * @param string[] $tables  Tables.
	 * @param int      $site_id The site.
	 */
	public static function tables_of_site( array $tables, int $site_id ): array {
		global $wpdb;
		foreach ( Sluice_Schema::TABLES as $name ) {
			$tables[] = $wpdb->get_blog_prefix( $site_id ) . 'sluice_' . $name;
		}
		return $tables;
	}
}
