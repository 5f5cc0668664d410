<?php
/**
 * Tables.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * The plugin's own tables, one set per site.
 *
 * Post meta and options cannot hold a unique key, and twenty requests at once find that out. Ids
 * compare by case (`ascii_bin`).
 */
final class Sluice_Schema {

	public const VERSION = 1;
	public const TABLES  = array( 'inbox', 'subjects', 'tokens', 'proposals', 'jobs', 'requests', 'outbox' );

	/**
	 * A table's full name.
	 *
	 * @param string $name One of TABLES.
	 */
	public static function table( string $name ): string {
		global $wpdb;
		return $wpdb->prefix . 'sluice_' . $name;
	}

	/** Makes or mends the tables where their version is not the present one: updates run no activation hook. */
	public static function ensure(): void {
		if ( (int) get_option( 'sluice_db_version', 0 ) === self::VERSION ) {
			return;
		}
		self::create();
		Sluice_Caps::grant();
		Sluice_Options::site_uuid();
		update_option( 'sluice_db_version', self::VERSION );
	}

	/** Makes or mends the tables. */
	public static function create(): void {
		global $wpdb;
		require_once ABSPATH . 'wp-admin/includes/upgrade.php';
		$end = 'ENGINE=InnoDB ' . $wpdb->get_charset_collate();
		$id  = 'varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL';
		$p   = $wpdb->prefix . 'sluice_';
		// One row for each job that has or is about to have its effect.
		dbDelta(
			"CREATE TABLE {$p}inbox (
			job_id $id,
			fence bigint NOT NULL,
			done tinyint NOT NULL DEFAULT 0,
			outcome varchar(16) NOT NULL DEFAULT '',
			post_id bigint unsigned NOT NULL DEFAULT 0,
			received_at bigint NOT NULL,
			PRIMARY KEY  (job_id),
			KEY received_at (received_at)
			) $end"
		);
		// One row for each subject of a route: its post, and how new it is.
		dbDelta(
			"CREATE TABLE {$p}subjects (
			post_key $id,
			post_id bigint unsigned NOT NULL DEFAULT 0,
			occurred_at bigint NOT NULL DEFAULT -9223372036854775808,
			applied_hash char(64) NOT NULL DEFAULT '',
			applied_status varchar(20) NOT NULL DEFAULT '',
			PRIMARY KEY  (post_key),
			KEY post_id (post_id)
			) $end"
		);
		dbDelta(
			"CREATE TABLE {$p}tokens (
			jti $id,
			expires_at bigint NOT NULL,
			PRIMARY KEY  (jti),
			KEY expires_at (expires_at)
			) $end"
		);
		dbDelta(
			"CREATE TABLE {$p}proposals (
			post_key $id,
			job_id $id,
			post_id bigint unsigned NOT NULL DEFAULT 0,
			type varchar(64) NOT NULL,
			title text NOT NULL,
			summary longtext NOT NULL,
			artifacts longtext NOT NULL,
			created_at bigint NOT NULL,
			PRIMARY KEY  (post_key),
			KEY post_id (post_id)
			) $end"
		);
		dbDelta(
			"CREATE TABLE {$p}jobs (
			job_id $id,
			type varchar(64) NOT NULL,
			source varchar(64) NOT NULL DEFAULT '',
			route varchar(64) NOT NULL DEFAULT '',
			state varchar(16) NOT NULL,
			attempts int unsigned NOT NULL DEFAULT 0,
			next_run_at bigint NOT NULL DEFAULT 0,
			last_error text NOT NULL,
			post_id bigint unsigned NOT NULL DEFAULT 0,
			updated_at bigint NOT NULL,
			tenant varchar(64) NOT NULL DEFAULT '',
			reported_at bigint NOT NULL DEFAULT 0,
			PRIMARY KEY  (job_id),
			KEY state (state,updated_at),
			KEY updated_at (updated_at),
			KEY reported (tenant,reported_at,job_id),
			KEY post_id (post_id)
			) $end"
		);
		// What this site asks of the gateway; handed out when the gateway reports.
		dbDelta(
			"CREATE TABLE {$p}requests (
			id bigint unsigned NOT NULL AUTO_INCREMENT,
			kind varchar(16) NOT NULL,
			job_id $id,
			user_id bigint unsigned NOT NULL,
			state varchar(16) NOT NULL DEFAULT 'waiting',
			created_at bigint NOT NULL,
			answered_at bigint NOT NULL DEFAULT 0,
			PRIMARY KEY  (id),
			KEY state (state,id),
			KEY job_id (job_id,state)
			) $end"
		);
		// Follow-ups, written in the transaction of the effect and run after it.
		dbDelta(
			"CREATE TABLE {$p}outbox (
			id bigint unsigned NOT NULL AUTO_INCREMENT,
			job_id $id,
			action varchar(40) NOT NULL,
			payload text NOT NULL,
			attempts int unsigned NOT NULL DEFAULT 0,
			next_at bigint NOT NULL,
			claim char(32) NOT NULL DEFAULT '',
			done_at bigint NOT NULL DEFAULT 0,
			PRIMARY KEY  (id),
			UNIQUE KEY effect (job_id,action),
			KEY due (done_at,next_at)
			) $end"
		);
	}

	/** Drops the tables. */
	public static function drop(): void {
		global $wpdb;
		foreach ( self::TABLES as $name ) {
			$wpdb->query( 'DROP TABLE IF EXISTS ' . self::table( $name ) );
		}
	}

	/**
	 * Whether posts and the inbox can share a transaction.
	 */
	public static function is_transactional(): bool {
		global $wpdb;
		foreach ( array( $wpdb->posts, $wpdb->postmeta, self::table( 'inbox' ), self::table( 'subjects' ), self::table( 'tokens' ) ) as $table ) {
			$engine = $wpdb->get_var( $wpdb->prepare( 'SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s', $table ) );
			if ( 'INNODB' !== strtoupper( (string) $engine ) ) {
				return false;
			}
		}
		return true;
	}
}
