<?php
/**
 * What this site asks of the gateway.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Retry, dismiss, self-test: written down here and handed out when the gateway reports, so that a
 * site that cannot reach the gateway can ask as well.
 */
final class Sluice_Requests {

	public const KINDS = array( 'retry', 'dismiss', 'self_test' );
	/** A request that nobody answered for so long is closed. */
	private const PATIENCE = DAY_IN_SECONDS;

	/**
	 * Asks. Asking twice before the answer is asking once.
	 *
	 * @param string $kind   One of KINDS.
	 * @param string $job_id The job, or an empty text.
	 * @param int    $user   Who asks.
	 * @return int The request's id.
	 */
	public static function ask( string $kind, string $job_id, int $user ): int {
		global $wpdb;
		$table = Sluice_Schema::table( 'requests' );
		$open  = $wpdb->get_var( $wpdb->prepare( "SELECT id FROM $table WHERE job_id = %s AND kind = %s AND state IN ('waiting','taken') LIMIT 1", $job_id, $kind ) );
		if ( $open && 'self_test' !== $kind ) {
			return (int) $open;
		}
		$wpdb->insert(
			$table,
			array(
				'kind'       => $kind,
				'job_id'     => $job_id,
				'user_id'    => $user,
				'created_at' => time(),
			)
		);
		return (int) $wpdb->insert_id;
	}

	/**
	 * Hands out what is open. It is handed out again until it is answered.
	 *
	 * @return array<int,array{id:int,kind:string,job_id:string}>
	 */
	public static function hand_out(): array {
		global $wpdb;
		$table = Sluice_Schema::table( 'requests' );
		$rows  = $wpdb->get_results( "SELECT id, kind, job_id FROM $table WHERE state IN ('waiting','taken') ORDER BY id LIMIT 20" );
		if ( ! $rows ) {
			return array();
		}
		$ids = implode( ',', array_map( static fn( object $row ): int => (int) $row->id, $rows ) );
		$wpdb->query( "UPDATE $table SET state = 'taken' WHERE id IN ($ids) AND state = 'waiting'" );
		return array_map(
			static fn( object $row ): array => array(
				'id'     => (int) $row->id,
				'kind'   => $row->kind,
				'job_id' => $row->job_id,
			),
			$rows
		);
	}

	/**
	 * Closes a request. What was dismissed is not shown as given up any more; the gateway keeps its
	 * dead letter for those who run it.
	 *
	 * @param int    $id      The request.
	 * @param string $outcome `done` or `refused`.
	 */
	public static function answer( int $id, string $outcome ): bool {
		global $wpdb;
		$table = Sluice_Schema::table( 'requests' );
		$taken = (bool) $wpdb->query( $wpdb->prepare( "UPDATE $table SET state = %s, answered_at = %d WHERE id = %d AND state IN ('waiting','taken')", $outcome, time(), $id ) );
		if ( $taken && 'done' === $outcome ) {
			$request = self::find( $id );
			if ( $request && 'dismiss' === $request->kind ) {
				Sluice_Jobs::dismissed( $request->job_id );
			}
		}
		return $taken;
	}

	/**
	 * One request.
	 *
	 * @param int $id Its id.
	 */
	public static function find( int $id ): ?object {
		global $wpdb;
		$table = Sluice_Schema::table( 'requests' );
		return $wpdb->get_row( $wpdb->prepare( "SELECT * FROM $table WHERE id = %d", $id ) );
	}

	/**
	 * The last self-test.
	 */
	public static function last_self_test(): ?object {
		global $wpdb;
		$table = Sluice_Schema::table( 'requests' );
		return $wpdb->get_row( "SELECT * FROM $table WHERE kind = 'self_test' ORDER BY id DESC LIMIT 1" );
	}

	/**
	 * Open requests by job.
	 *
	 * @param string[] $job_ids The jobs.
	 * @return array<string,string> The kind by job.
	 */
	public static function open_for( array $job_ids ): array {
		global $wpdb;
		if ( ! $job_ids ) {
			return array();
		}
		$table  = Sluice_Schema::table( 'requests' );
		$places = implode( ',', array_fill( 0, count( $job_ids ), '%s' ) );
		$rows   = $wpdb->get_results( $wpdb->prepare( "SELECT job_id, kind FROM $table WHERE state IN ('waiting','taken') AND job_id IN ($places)", $job_ids ) );
		return array_column( $rows, 'kind', 'job_id' );
	}

	/** Closes what nobody answers and forgets what is long over. */
	public static function sweep(): void {
		global $wpdb;
		$table = Sluice_Schema::table( 'requests' );
		$wpdb->query( $wpdb->prepare( "UPDATE $table SET state = 'refused', answered_at = %d WHERE state IN ('waiting','taken') AND created_at < %d", time(), time() - self::PATIENCE ) );
		$wpdb->query( $wpdb->prepare( "DELETE FROM $table WHERE created_at < %d LIMIT 1000", time() - 30 * DAY_IN_SECONDS ) );
	}
}
