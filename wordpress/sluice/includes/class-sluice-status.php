<?php
/**
 * A report of job states.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * What the gateway says about its jobs and about this site's requests. Pure.
 */
final class Sluice_Status {

	public const MAX_JOBS = 100;
	public const STATES   = array( 'pending', 'running', 'succeeded', 'failed', 'deadletter', 'superseded', 'cancelled' );

	/**
	 * A report that fits the contract.
	 *
	 * @param array<int,array<string,mixed>> $jobs    Rows as the table of jobs holds them.
	 * @param array<int,array<string,mixed>> $answers What became of requests: `id`, `outcome`.
	 */
	private function __construct( public readonly array $jobs, public readonly array $answers ) {}

	/**
	 * Reads a body.
	 *
	 * @param string $body The raw body.
	 * @return self|string[] The report, or the names of the fields that do not fit.
	 */
	public static function read( string $body ): self|array {
		$in = Sluice_Json::read( $body, 8 );
		if ( null === $in || 1 !== ( $in['schema_version'] ?? null ) ) {
			return array( 'schema_version' );
		}
		$jobs    = self::rows( $in['jobs'] ?? null, self::MAX_JOBS, array( self::class, 'job' ) );
		$answers = self::rows( $in['answers'] ?? array(), self::MAX_JOBS, array( self::class, 'answer' ) );
		$bad     = array_keys( array_filter( compact( 'jobs', 'answers' ), 'is_null' ) );
		return $bad ? $bad : new self( $jobs, $answers );
	}

	/**
	 * Reads each row, or null if one does not fit.
	 *
	 * @param mixed    $list The field.
	 * @param int      $max  Rows at most.
	 * @param callable $read Reads one.
	 */
	private static function rows( mixed $list, int $max, callable $read ): ?array {
		if ( ! is_array( $list ) || ! array_is_list( $list ) || count( $list ) > $max ) {
			return null;
		}
		$rows = array();
		foreach ( $list as $one ) {
			$row = is_array( $one ) ? $read( $one ) : null;
			if ( null === $row ) {
				return null;
			}
			$rows[] = $row;
		}
		return $rows;
	}

	/**
	 * One job.
	 *
	 * @param array<string,mixed> $in The row as sent.
	 */
	private static function job( array $in ): ?array {
		$text = static fn( string $name, string $pattern ): bool =>
			is_string( $in[ $name ] ?? null ) && 1 === preg_match( $pattern, $in[ $name ] );
		$next = isset( $in['next_run_at'] ) ? self::time( $in['next_run_at'] ) : 0;
		$at   = self::time( $in['updated_at'] ?? null );
		$fits = $text( 'job_id', '/^job_[0-9a-z]{8,60}$/D' )
			&& $text( 'type', '/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/D' )
			&& $text( 'source', '/^[a-z0-9][a-z0-9_-]{0,63}$/D' )
			&& $text( 'route', '/^[a-z0-9][a-z0-9_-]{0,63}$/D' )
			&& in_array( $in['state'] ?? null, self::STATES, true )
			&& is_int( $in['attempts'] ?? null ) && $in['attempts'] >= 0
			&& is_string( $in['last_error'] ?? '' )
			&& null !== $next && null !== $at
			&& is_int( $in['post_id'] ?? 0 );
		if ( ! $fits ) {
			return null;
		}
		return array(
			'job_id'      => $in['job_id'],
			'type'        => $in['type'],
			'source'      => $in['source'],
			'route'       => $in['route'],
			'state'       => $in['state'],
			'attempts'    => $in['attempts'],
			'next_run_at' => intdiv( $next, 1000000 ),
			'last_error'  => mb_substr( Sluice_Text::line( $in['last_error'] ?? '' ), 0, 300, 'UTF-8' ),
			'updated_at'  => $at,
		);
	}

	/**
	 * What became of one request.
	 *
	 * @param array<string,mixed> $in The row as sent.
	 */
	private static function answer( array $in ): ?array {
		$fits = is_int( $in['id'] ?? null ) && in_array( $in['outcome'] ?? null, array( 'done', 'refused' ), true );
		return $fits ? array(
			'id'      => $in['id'],
			'outcome' => $in['outcome'],
		) : null;
	}

	/**
	 * RFC 3339 as microseconds since 1970, or null.
	 *
	 * @param mixed $text The text.
	 */
	public static function time( mixed $text ): ?int {
		if ( ! is_string( $text ) || 1 !== preg_match( '/^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/D', $text, $m ) ) {
			return null;
		}
		if ( ! checkdate( (int) $m[2], (int) $m[3], (int) $m[1] ) || $m[4] > 23 || $m[5] > 59 || $m[6] > 60 ) {
			return null;
		}
		$offset = 0;
		if ( 'Z' !== $m[8] ) {
			$offset = ( (int) substr( $m[8], 1, 2 ) * 60 + (int) substr( $m[8], 4, 2 ) ) * ( '-' === $m[8][0] ? -60 : 60 );
		}
		$seconds = gmmktime( (int) $m[4], (int) $m[5], (int) $m[6], (int) $m[2], (int) $m[3], (int) $m[1] ) - $offset;
		return $seconds * 1000000 + (int) substr( str_pad( $m[7] ?? '', 6, '0' ), 0, 6 );
	}

	/**
	 * Microseconds since 1970 as RFC 3339.
	 *
	 * @param int $micros The time.
	 */
	public static function rfc3339( int $micros ): string {
		$seconds = (int) floor( $micros / 1000000 );
		return gmdate( 'Y-m-d\TH:i:s', $seconds ) . sprintf( '.%06dZ', $micros - $seconds * 1000000 );
	}
}
