<?php
/**
 * A callback's body.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * One result of the gateway, as sent: checked, not yet made harmless. Pure.
 *
 * `title` and `summary` come as HTML text (entities, no tags). Fields that are not known are ignored,
 * so that a newer gateway can add some; known ones must be as the contract says.
 */
final class Sluice_Callback {

	public const MAX_BODY      = 262144;
	public const MAX_TITLE     = 1000;
	public const MAX_SUMMARY   = 30000;
	public const MAX_ARTIFACTS = 20;
	/** What names an artifact at the gateway, for as long as it is kept there. */
	public const ARTIFACT_ID = '/^art_[0-9a-f]{32}$/D';
	public const MAX_URL       = 8192;

	/**
	 * A callback that fits the contract.
	 *
	 * @param string      $job_id      The job.
	 * @param string      $event_id    The event that caused it.
	 * @param string      $tenant      The tenant.
	 * @param string      $type        The job's type, as in this site's settings.
	 * @param string      $post_key    One post for each.
	 * @param int         $fence       The attempt; newer ones are greater.
	 * @param int         $occurred_at When what it tells happened, in microseconds since 1970.
	 * @param string      $title       HTML text.
	 * @param string      $summary     HTML text.
	 * @param array       $artifacts   Rows of `type`, `id` (or empty), `url`, `expires_at` (Unix seconds or null).
	 * @param string      $trace_id    The trace.
	 * @param string      $mode        `meta`: kept beside an existing post; empty: as this site's settings say.
	 * @param int         $target      For mode `meta`: the post to attach to, or 0.
	 */
	private function __construct(
		public readonly string $job_id,
		public readonly string $event_id,
		public readonly string $tenant,
		public readonly string $type,
		public readonly string $post_key,
		public readonly int $fence,
		public readonly int $occurred_at,
		public readonly string $title,
		public readonly string $summary,
		public readonly array $artifacts,
		public readonly string $trace_id,
		public readonly string $mode,
		public readonly int $target
	) {}

	/**
	 * Reads a body.
	 *
	 * @param string $body The raw body.
	 * @return self|string[] The callback, or the names of the fields that do not fit.
	 */
	public static function read( string $body ): self|array {
		$in = Sluice_Json::read( $body, 8 );
		if ( null === $in ) {
			return array( 'body' );
		}
		$occurred_at = Sluice_Status::time( $in['occurred_at'] ?? null );
		$artifacts   = self::artifacts( $in['artifacts'] ?? null );
		$fits        = array(
			'schema_version' => 1 === ( $in['schema_version'] ?? null ),
			'job_id'         => self::is( $in, 'job_id', '/^job_[0-9a-z]{8,60}$/D' ),
			'event_id'       => self::is( $in, 'event_id', '/^evt_[0-9a-z]{8,60}$/D' ),
			'source'         => 'sluice' === ( $in['source'] ?? null ),
			'tenant'         => self::is( $in, 'tenant', '/^[a-z0-9][a-z0-9_-]{0,63}$/D' ),
			'type'           => self::is( $in, 'type', '/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/D' ),
			'state'          => 'succeeded' === ( $in['state'] ?? null ),
			'post_key'       => self::is( $in, 'post_key', '/^[0-9a-f]{64}$/D' ),
			'fence'          => is_int( $in['fence'] ?? null ) && $in['fence'] >= 0,
			'occurred_at'    => null !== $occurred_at,
			'title'          => self::text( $in['title'] ?? null, 1, self::MAX_TITLE ),
			'summary'        => self::text( $in['summary'] ?? null, 0, self::MAX_SUMMARY ),
			'artifacts'      => null !== $artifacts,
			'trace_id'       => self::is( $in, 'trace_id', '/^[0-9a-f]{32}$/D' ),
			'mode'           => in_array( $in['mode'] ?? '', array( '', 'meta' ), true ),
			'target_post_id' => is_int( $in['target_post_id'] ?? 0 ) && ( $in['target_post_id'] ?? 0 ) >= 0,
		);
		$bad         = array_keys( array_filter( $fits, static fn( bool $fit ): bool => ! $fit ) );
		if ( $bad ) {
			return $bad;
		}
		return new self(
			$in['job_id'],
			$in['event_id'],
			$in['tenant'],
			$in['type'],
			$in['post_key'],
			$in['fence'],
			$occurred_at,
			$in['title'],
			$in['summary'],
			$artifacts,
			$in['trace_id'],
			$in['mode'] ?? '',
			$in['target_post_id'] ?? 0
		);
	}

	/**
	 * Whether a field is a text of this form.
	 *
	 * @param array  $in      The body.
	 * @param string $name    The field.
	 * @param string $pattern The form.
	 */
	private static function is( array $in, string $name, string $pattern ): bool {
		return is_string( $in[ $name ] ?? null ) && 1 === preg_match( $pattern, $in[ $name ] );
	}

	/**
	 * Whether a value is a text of fitting length.
	 *
	 * @param mixed $value The value.
	 * @param int   $min   Characters at least, blanks at the ends not counted.
	 * @param int   $max   Characters at most.
	 */
	private static function text( mixed $value, int $min, int $max ): bool {
		return is_string( $value ) && mb_strlen( trim( $value ), 'UTF-8' ) >= $min && mb_strlen( $value, 'UTF-8' ) <= $max;
	}

	/**
	 * The artifacts, or null if one does not fit.
	 *
	 * @param mixed $list The field.
	 * @return array<int,array{type:string,id:string,url:string,expires_at:?int}>|null
	 */
	private static function artifacts( mixed $list ): ?array {
		if ( ! is_array( $list ) || ! array_is_list( $list ) || count( $list ) > self::MAX_ARTIFACTS ) {
			return null;
		}
		$rows = array();
		foreach ( $list as $one ) {
			if ( ! is_array( $one ) || ! self::is( $one, 'type', '/^[A-Za-z0-9][A-Za-z0-9_.\/+-]{0,63}$/D' ) || ! self::is_link( $one['url'] ?? null ) ) {
				return null;
			}
			if ( isset( $one['id'] ) && ! self::is( $one, 'id', self::ARTIFACT_ID ) ) {
				return null;
			}
			$expires = null;
			if ( isset( $one['expires_at'] ) ) {
				$expires = Sluice_Status::time( $one['expires_at'] );
				if ( null === $expires ) {
					return null;
				}
				$expires = intdiv( $expires, 1000000 );
			}
			$rows[] = array(
				'type'       => $one['type'],
				'id'         => $one['id'] ?? '',
				'url'        => $one['url'],
				'expires_at' => $expires,
			);
		}
		return $rows;
	}

	/**
	 * Whether a value is a plain https link: a host, no user, no port games, nothing to hide behind.
	 *
	 * @param mixed $url The value.
	 */
	public static function is_link( mixed $url ): bool {
		if ( ! is_string( $url ) || strlen( $url ) > self::MAX_URL || 1 !== preg_match( '#^https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?([/?\#][!-~]*)?$#D', $url ) ) {
			return false;
		}
		return 1 !== preg_match( '/[<>"\'\\\\`{}|^\[\]]/', $url );
	}
}
