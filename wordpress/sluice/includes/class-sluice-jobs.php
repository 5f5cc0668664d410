<?php
/**
 * The states of jobs.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * What the gateway last said about each job.
 */
final class Sluice_Jobs {

	/** States in which nothing more happens by itself, and nobody needs to look. */
	private const OVER = array( 'succeeded', 'superseded', 'cancelled' );

	/**
	 * Takes a report. A row that is older than what is known changes nothing.
	 *
	 * @param string                         $tenant The gateway's tenant.
	 * @param array<int,array<string,mixed>> $rows   As Sluice_Status reads them.
	 */
	public static function report( string $tenant, array $rows ): bool {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		foreach ( $rows as $row ) {
			// MySQL assigns from left to right, so what the others compare with comes last.
			$newer = 'VALUES(reported_at) >= reported_at';
			$done  = $wpdb->query(
				$wpdb->prepare(
					"INSERT INTO $table (job_id, type, source, route, state, attempts, next_run_at, last_error, tenant, updated_at, reported_at)
					VALUES (%s, %s, %s, %s, %s, %d, %d, %s, %s, %d, %d)
					ON DUPLICATE KEY UPDATE
					type = IF($newer, VALUES(type), type), source = IF($newer, VALUES(source), source),
					route = IF($newer, VALUES(route), route), state = IF($newer, VALUES(state), state),
					attempts = IF($newer, VALUES(attempts), attempts), next_run_at = IF($newer, VALUES(next_run_at), next_run_at),
					last_error = IF($newer, VALUES(last_error), last_error), tenant = IF($newer, VALUES(tenant), tenant),
					updated_at = IF($newer, VALUES(updated_at), updated_at), reported_at = GREATEST(reported_at, VALUES(reported_at))",
					$row['job_id'],
					$row['type'],
					$row['source'],
					$row['route'],
					$row['state'],
					$row['attempts'],
					$row['next_run_at'],
					$row['last_error'],
					$tenant,
					$row['updated_at'],
					$row['updated_at']
				)
			);
			if ( false === $done ) {
				return false;
			}
		}
		return true;
	}

	/**
	 * Up to where this tenant's jobs are known: the gateway goes on from there.
	 *
	 * @param string $tenant The tenant.
	 * @return array{updated_at:string,job_id:string}|null
	 */
	public static function cursor( string $tenant ): ?array {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		$row   = $wpdb->get_row( $wpdb->prepare( "SELECT reported_at, job_id FROM $table WHERE tenant = %s AND reported_at > 0 ORDER BY reported_at DESC, job_id DESC LIMIT 1", $tenant ) );
		return $row ? array(
			'updated_at' => Sluice_Status::rfc3339( (int) $row->reported_at ),
			'job_id'     => $row->job_id,
		) : null;
	}

	/**
	 * Remembers the post of a job whose result arrived. Any report says more than this does.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param int             $post_id  Its post, or 0.
	 */
	public static function applied( Sluice_Callback $callback, int $post_id ): bool {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		return false !== $wpdb->query(
			$wpdb->prepare(
				"INSERT INTO $table (job_id, type, state, last_error, tenant, post_id, updated_at) VALUES (%s, %s, 'succeeded', '', %s, %d, %d)
				ON DUPLICATE KEY UPDATE post_id = VALUES(post_id), updated_at = GREATEST(updated_at, VALUES(updated_at)),
				state = 'succeeded', last_error = ''",
				$callback->job_id,
				$callback->type,
				$callback->tenant,
				$post_id,
				time() * 1000000
			)
		);
	}

	/**
	 * A dead letter that editors do not want to see any more. Only a newer report shows it again.
	 *
	 * @param string $job_id The job.
	 */
	public static function dismissed( string $job_id ): void {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		$wpdb->query( $wpdb->prepare( "UPDATE $table SET state = 'cancelled', reported_at = reported_at + 1 WHERE job_id = %s AND state = 'deadletter'", $job_id ) );
	}

	/**
	 * The newest jobs that something can still happen to.
	 *
	 * @param int $limit How many.
	 * @return string[] Their ids.
	 */
	public static function in_motion( int $limit ): array {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		$over  = "'" . implode( "','", self::OVER ) . "'";
		return $wpdb->get_col( $wpdb->prepare( "SELECT job_id FROM $table WHERE state NOT IN ($over) ORDER BY updated_at DESC, job_id DESC LIMIT %d", $limit ) );
	}

	/**
	 * One job.
	 *
	 * @param string $job_id Its id.
	 */
	public static function find( string $job_id ): ?object {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		return $wpdb->get_row( $wpdb->prepare( "SELECT * FROM $table WHERE job_id = %s", $job_id ) );
	}

	/**
	 * A page of jobs, newest first.
	 *
	 * @param array{state?:string,search?:string,post_id?:int} $filter What to look for.
	 * @param int                                              $limit  Rows at most.
	 * @param int                                              $offset Rows to leave out.
	 * @return object[]
	 */
	public static function page( array $filter, int $limit, int $offset = 0 ): array {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		$where = self::where( $filter );
		return $wpdb->get_results( $wpdb->prepare( "SELECT * FROM $table WHERE $where ORDER BY updated_at DESC, job_id DESC LIMIT %d OFFSET %d", $limit, $offset ) );
	}

	/**
	 * How many jobs there are.
	 *
	 * @param array $filter As for page.
	 */
	public static function count( array $filter ): int {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		$where = self::where( $filter );
		return (int) $wpdb->get_var( "SELECT COUNT(*) FROM $table WHERE $where" );
	}

	/**
	 * How many jobs there are in each state.
	 *
	 * @return array<string,int>
	 */
	public static function counts(): array {
		global $wpdb;
		$table  = Sluice_Schema::table( 'jobs' );
		$counts = array_fill_keys( Sluice_Status::STATES, 0 );
		foreach ( $wpdb->get_results( "SELECT state, COUNT(*) AS jobs FROM $table GROUP BY state" ) as $row ) {
			$counts[ $row->state ] = (int) $row->jobs;
		}
		return $counts;
	}

	/**
	 * A prepared condition.
	 *
	 * @param array $filter As for page.
	 */
	private static function where( array $filter ): string {
		global $wpdb;
		$where = array( '1 = 1' );
		if ( in_array( $filter['state'] ?? '', Sluice_Status::STATES, true ) ) {
			$where[] = $wpdb->prepare( 'state = %s', $filter['state'] );
		}
		if ( '' !== ( $filter['search'] ?? '' ) ) {
			$like    = '%' . $wpdb->esc_like( $filter['search'] ) . '%';
			$where[] = $wpdb->prepare(
				"(job_id LIKE %s OR type LIKE %s OR source LIKE %s OR route LIKE %s OR post_id IN (SELECT ID FROM {$wpdb->posts} WHERE post_title LIKE %s))",
				$like,
				$like,
				$like,
				$like,
				$like
			);
		}
		if ( isset( $filter['post_id'] ) ) {
			$where[] = $wpdb->prepare( 'post_id = %d', $filter['post_id'] );
		}
		return implode( ' AND ', $where );
	}

	/**
	 * Forgets jobs that were over before.
	 *
	 * @param int $before Unix seconds.
	 */
	public static function sweep( int $before ): void {
		global $wpdb;
		$table = Sluice_Schema::table( 'jobs' );
		$over  = "'" . implode( "','", self::OVER ) . "'";
		$wpdb->query( $wpdb->prepare( "DELETE FROM $table WHERE updated_at < %d AND state IN ($over) LIMIT 1000", $before * 1000000 ) );
	}
}
