<?php
/**
 * Exactly one effect for each job.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Applies results. Effect, inbox row and follow-ups are one transaction: a process killed at any
 * instruction leaves either all of them or none, and the gateway's next attempt finds out which.
 */
final class Sluice_Inbox {

	private const TRIES = 3;
	/** A gateway can replay a dead letter for 90 days. */
	private const MIN_DAYS = 120;

	/**
	 * Applies a result, or says what became of it before.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @return array{outcome:string,post_id:int}|WP_Error
	 */
	public static function apply( Sluice_Callback $callback ): array|WP_Error {
		global $wpdb;
		$inbox = Sluice_Schema::table( 'inbox' );
		// Outside the transaction, so that an older attempt sees a newer one while that still runs.
		$known = $wpdb->query(
			$wpdb->prepare(
				"INSERT INTO $inbox (job_id, fence, received_at) VALUES (%s, %d, %d) ON DUPLICATE KEY UPDATE fence = IF(done, fence, GREATEST(fence, VALUES(fence)))",
				$callback->job_id,
				$callback->fence,
				time()
			)
		);
		if ( false !== $known ) {
			for ( $try = 0; $try < self::TRIES; $try++ ) {
				$result = self::attempt( $callback );
				if ( null !== $result ) {
					return $result;
				}
			}
		}
		return new WP_Error( 'sluice_busy', 'The database could not take this now.', array( 'status' => 503 ) );
	}

	/**
	 * One transaction, or null where it has to be tried again.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @return array{outcome:string,post_id:int}|WP_Error|null
	 */
	private static function attempt( Sluice_Callback $callback ): array|WP_Error|null {
		global $wpdb;
		$touched = 0;
		try {
			$wpdb->query( 'START TRANSACTION' );
			$wpdb->query( 'SAVEPOINT sluice' );
			$result = self::within( $callback, $touched );
		} catch ( Throwable $error ) {
			$result = new WP_Error( 'sluice_failed', 'Something on this site failed while the post was written.', array( 'status' => 500 ) );
		}
		if ( is_array( $result ) && 'duplicate' !== $result['outcome'] ) {
			if ( false === $wpdb->query( 'COMMIT' ) || ! self::is_done( $callback->job_id ) ) {
				$result = null;
			}
		}
		if ( ! is_array( $result ) || 'duplicate' === $result['outcome'] ) {
			$wpdb->query( 'ROLLBACK' );
			if ( $touched ) {
				// What a persistent cache was told of this post is not true any more.
				clean_post_cache( $touched );
			}
		}
		return $result;
	}

	/**
	 * The inside of the transaction.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param int             $touched  Set to the post that was written.
	 * @return array{outcome:string,post_id:int}|WP_Error|null
	 */
	private static function within( Sluice_Callback $callback, int &$touched ): array|WP_Error|null {
		global $wpdb;
		$inbox    = Sluice_Schema::table( 'inbox' );
		$subjects = Sluice_Schema::table( 'subjects' );
		// The subject's row first, always: all that follows is one at a time for a subject.
		$locked = $wpdb->query( $wpdb->prepare( "INSERT INTO $subjects (post_key) VALUES (%s) ON DUPLICATE KEY UPDATE post_key = VALUES(post_key)", $callback->post_key ) );
		if ( false === $locked ) {
			return null;
		}
		$row     = $wpdb->get_row( $wpdb->prepare( "SELECT * FROM $inbox WHERE job_id = %s FOR UPDATE", $callback->job_id ) );
		$subject = $wpdb->get_row( $wpdb->prepare( "SELECT * FROM $subjects WHERE post_key = %s FOR UPDATE", $callback->post_key ) );
		if ( ! $row || ! $subject ) {
			return null;
		}
		if ( (int) $row->done ) {
			return self::result( 'duplicate', (int) $row->post_id );
		}
		if ( (int) $row->fence > $callback->fence ) {
			return new WP_Error( 'sluice_newer_attempt', 'A newer attempt of this job is under way.', array( 'status' => 409 ) );
		}
		$result = self::effect( $callback, $subject );
		if ( is_wp_error( $result ) ) {
			return $result;
		}
		$touched = $result['post_id'];
		// A deadlock or a lost connection in the midst has undone everything before it, and this notices.
		$shown = $wpdb->suppress_errors( true );
		$alive = false !== $wpdb->query( 'RELEASE SAVEPOINT sluice' );
		$wpdb->suppress_errors( $shown );
		if ( ! $alive ) {
			return null;
		}
		return self::record( $callback, $result ) ? $result : null;
	}

	/**
	 * Does what the result asks for.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param object          $subject  The subject's row.
	 * @return array{outcome:string,post_id:int}|WP_Error
	 */
	private static function effect( Sluice_Callback $callback, object $subject ): array|WP_Error {
		$type    = Sluice_Options::type( $callback->type );
		$post_id = (int) $subject->post_id;
		if ( $callback->occurred_at < (int) $subject->occurred_at ) {
			return self::result( 'stale', $post_id );
		}
		// A gateway can ask for less than the settings grant, never for more.
		if ( 'meta' === $callback->mode || 'meta' === $type['mode'] ) {
			return self::attach( $callback, $type );
		}
		$outcome = 'applied';
		if ( ! $post_id ) {
			$post_id = Sluice_Posts::left_behind( $callback->post_key );
			if ( ! $post_id ) {
				$outcome = 'created';
				$post_id = Sluice_Posts::create( $callback, $type );
			}
		} else {
			clean_post_cache( $post_id );
			$post = Sluice_Posts::locked( $post_id );
			if ( ! $post ) {
				// Deleted for good by somebody who did not want it: it does not come back.
				return self::result( 'stale', 0 );
			}
			if ( ! Sluice_Posts::is_ours( $post, $subject ) ) {
				$kept = Sluice_Proposals::keep( $callback, $post_id ) && self::move( $callback, array( 'occurred_at' => $callback->occurred_at ) );
				return $kept ? self::result( 'proposed', $post_id ) : self::failed();
			}
			$post_id = Sluice_Posts::update( $post_id, $callback );
		}
		if ( is_wp_error( $post_id ) || ! $post_id ) {
			return self::failed();
		}
		$post  = get_post( $post_id );
		$moved = self::move(
			$callback,
			array(
				'post_id'        => $post_id,
				'occurred_at'    => $callback->occurred_at,
				'applied_hash'   => Sluice_Posts::hash( $post ),
				'applied_status' => $post->post_status,
			)
		);
		return $moved ? self::result( $outcome, $post_id ) : self::failed();
	}

	/**
	 * Mode `meta`.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param array           $type     Settings of its type.
	 * @return array{outcome:string,post_id:int}|WP_Error
	 */
	private static function attach( Sluice_Callback $callback, array $type ): array|WP_Error {
		$post = get_post( $callback->target ? $callback->target : $type['target'] );
		if ( ! $post || $post->post_type !== $type['post_type'] || 'trash' === $post->post_status ) {
			return new WP_Error( 'sluice_no_target', 'There is no such post to attach to.', array( 'status' => 422 ) );
		}
		Sluice_Posts::attach( $post->ID, $callback, 'meta' );
		$moved = self::move(
			$callback,
			array(
				'post_id'     => $post->ID,
				'occurred_at' => $callback->occurred_at,
			)
		);
		return $moved ? self::result( 'applied', $post->ID ) : self::failed();
	}

	/**
	 * Writes what the effect was, and what follows.
	 *
	 * @param Sluice_Callback                   $callback The result.
	 * @param array{outcome:string,post_id:int} $result   The effect.
	 */
	private static function record( Sluice_Callback $callback, array $result ): bool {
		global $wpdb;
		$done = $wpdb->update(
			Sluice_Schema::table( 'inbox' ),
			array(
				'done'    => 1,
				'fence'   => $callback->fence,
				'outcome' => $result['outcome'],
				'post_id' => $result['post_id'],
			),
			array( 'job_id' => $callback->job_id )
		);
		if ( ! $done || ! Sluice_Jobs::applied( $callback, $result['post_id'] ) ) {
			return false;
		}
		if ( 'stale' === $result['outcome'] ) {
			return true;
		}
		$info = array(
			'job_id'   => $callback->job_id,
			'type'     => $callback->type,
			'outcome'  => $result['outcome'],
			'post_id'  => $result['post_id'],
			'trace_id' => $callback->trace_id,
		);
		return Sluice_Outbox::add( $callback->job_id, 'hook', $info, time() ) && Sluice_Outbox::add( $callback->job_id, 'notify', $info, time() );
	}

	/**
	 * Changes the subject's row.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param array           $values   Columns.
	 */
	private static function move( Sluice_Callback $callback, array $values ): bool {
		global $wpdb;
		return false !== $wpdb->update( Sluice_Schema::table( 'subjects' ), $values, array( 'post_key' => $callback->post_key ) );
	}

	/**
	 * Whether the job's effect is there. A connection that broke at the very end commits nothing.
	 *
	 * @param string $job_id The job.
	 */
	private static function is_done( string $job_id ): bool {
		global $wpdb;
		$inbox = Sluice_Schema::table( 'inbox' );
		return 1 === (int) $wpdb->get_var( $wpdb->prepare( "SELECT done FROM $inbox WHERE job_id = %s", $job_id ) );
	}

	/**
	 * A result.
	 *
	 * @param string $outcome The word.
	 * @param int    $post_id The post, or 0.
	 * @return array{outcome:string,post_id:int}
	 */
	private static function result( string $outcome, int $post_id ): array {
		return array(
			'outcome' => $outcome,
			'post_id' => $post_id,
		);
	}

	/** The post could not be written; the gateway tries again. */
	private static function failed(): WP_Error {
		return new WP_Error( 'sluice_failed', 'The post could not be written.', array( 'status' => 500 ) );
	}

	/**
	 * Takes a token's id, once.
	 *
	 * @param array<string,mixed> $claims The claims.
	 * @return bool|null Whether it was new; null where the database does not say.
	 */
	public static function consume( array $claims ): ?bool {
		global $wpdb;
		$tokens = Sluice_Schema::table( 'tokens' );
		$rows   = $wpdb->query( $wpdb->prepare( "INSERT IGNORE INTO $tokens (jti, expires_at) VALUES (%s, %d)", $claims['jti'], $claims['exp'] + Sluice_Token::LEEWAY ) );
		return false === $rows ? null : 1 === $rows;
	}

	/** Forgets tokens that have expired, and jobs whose gateway has forgotten them as well. */
	public static function sweep(): void {
		global $wpdb;
		$tokens = Sluice_Schema::table( 'tokens' );
		$inbox  = Sluice_Schema::table( 'inbox' );
		$wpdb->query( $wpdb->prepare( "DELETE FROM $tokens WHERE expires_at < %d LIMIT 5000", time() - HOUR_IN_SECONDS ) );
		$wpdb->query( $wpdb->prepare( "DELETE FROM $inbox WHERE received_at < %d LIMIT 1000", time() - max( self::MIN_DAYS, Sluice_Options::retention_days() ) * DAY_IN_SECONDS ) );
	}
}
