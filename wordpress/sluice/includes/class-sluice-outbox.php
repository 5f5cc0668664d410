<?php
/**
 * Follow-ups.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * What an effect causes here: actions of other plugins, mail. Rows are written in the transaction of
 * the effect and run after it by one recurring event or by the gateway's nudge, so that no callback
 * waits for a mail server. A row runs at least once; a row that fails five times is given up.
 */
final class Sluice_Outbox {

	public const MAX_ATTEMPTS = 5;
	/** How long a run may take before another may try the row. */
	private const LEASE = 300;

	/**
	 * Writes a row; the same action of the same job is written once.
	 *
	 * @param string $job_id  The job.
	 * @param string $action  The action.
	 * @param array  $payload Ids only.
	 * @param int    $next_at Not before, Unix seconds.
	 */
	public static function add( string $job_id, string $action, array $payload, int $next_at ): bool {
		global $wpdb;
		$table = Sluice_Schema::table( 'outbox' );
		return false !== $wpdb->query(
			$wpdb->prepare(
				"INSERT IGNORE INTO $table (job_id, action, payload, next_at) VALUES (%s, %s, %s, %d)",
				$job_id,
				$action,
				wp_json_encode( $payload ),
				$next_at
			)
		);
	}

	/**
	 * Runs due rows.
	 *
	 * @param int   $limit   Rows at most.
	 * @param float $seconds Begins no row after that long.
	 * @return int Rows that were run.
	 */
	public static function run( int $limit = 20, float $seconds = 5.0 ): int {
		$begun = microtime( true );
		for ( $ran = 0; $ran < $limit && microtime( true ) - $begun < $seconds; $ran++ ) {
			$row = self::claim( '' );
			if ( ! $row ) {
				break;
			}
			$rows = array( $row );
			if ( str_starts_with( $row->action, 'mail:' ) ) {
				// Whatever else this person is to be told goes into the same mail.
				while ( count( $rows ) < 50 ) {
					$more = self::claim( $row->action );
					if ( ! $more ) {
						break;
					}
					$rows[] = $more;
				}
			}
			self::perform( $rows );
		}
		return $ran;
	}

	/**
	 * Takes one due row for a while.
	 *
	 * @param string $action Only such, or any.
	 */
	private static function claim( string $action ): ?object {
		global $wpdb;
		$table = Sluice_Schema::table( 'outbox' );
		$claim = bin2hex( random_bytes( 16 ) );
		$only  = '' === $action ? '' : $wpdb->prepare( 'AND action = %s', $action );
		$taken = $wpdb->query(
			$wpdb->prepare(
				"UPDATE $table SET claim = %s, attempts = attempts + 1, next_at = %d WHERE done_at = 0 AND next_at <= %d AND attempts < %d $only ORDER BY next_at, id LIMIT 1",
				$claim,
				time() + self::LEASE,
				time(),
				self::MAX_ATTEMPTS
			)
		);
		return $taken ? $wpdb->get_row( $wpdb->prepare( "SELECT * FROM $table WHERE claim = %s", $claim ) ) : null;
	}

	/**
	 * Runs claimed rows of one action.
	 *
	 * @param object[] $rows The rows.
	 */
	private static function perform( array $rows ): void {
		global $wpdb;
		$payloads = array_map( static fn( object $row ): array => (array) json_decode( $row->payload, true ), $rows );
		$action   = $rows[0]->action;
		try {
			if ( 'hook' === $action ) {
				$info = $payloads[0];
				/**
				 * A result of the gateway has changed this site. Runs outside the gateway's request, at
				 * least once for each job.
				 *
				 * @param int   $post_id The post, or 0.
				 * @param array $info    `job_id`, `type`, `outcome` (`created`, `applied`, `proposed`), `trace_id`.
				 */
				do_action( 'sluice_job_applied', (int) $info['post_id'], $info );
				$done = true;
			} elseif ( 'notify' === $action ) {
				$done = Sluice_Mailer::address( $rows[0]->job_id, $payloads[0] );
			} else {
				$done = Sluice_Mailer::send( (int) substr( $action, 5 ), $payloads );
			}
		} catch ( Throwable $error ) {
			$done = false;
		}
		if ( $done ) {
			foreach ( $rows as $row ) {
				$wpdb->update( Sluice_Schema::table( 'outbox' ), array( 'done_at' => time() ), array( 'claim' => $row->claim ) );
			}
		}
	}

	/** Rows that wait, and are due. */
	public static function due(): int {
		global $wpdb;
		$table = Sluice_Schema::table( 'outbox' );
		return (int) $wpdb->get_var( $wpdb->prepare( "SELECT COUNT(*) FROM $table WHERE done_at = 0 AND next_at <= %d AND attempts < %d", time(), self::MAX_ATTEMPTS ) );
	}

	/** Rows that were given up. */
	public static function given_up(): int {
		global $wpdb;
		$table = Sluice_Schema::table( 'outbox' );
		return (int) $wpdb->get_var( $wpdb->prepare( "SELECT COUNT(*) FROM $table WHERE done_at = 0 AND attempts >= %d", self::MAX_ATTEMPTS ) );
	}

	/** Forgets what is long done or given up. */
	public static function sweep(): void {
		global $wpdb;
		$table  = Sluice_Schema::table( 'outbox' );
		$before = time() - 30 * DAY_IN_SECONDS;
		$wpdb->query( $wpdb->prepare( "DELETE FROM $table WHERE (done_at > 0 AND done_at < %d) OR (attempts >= %d AND next_at < %d) LIMIT 1000", $before, self::MAX_ATTEMPTS, $before ) );
	}
}
