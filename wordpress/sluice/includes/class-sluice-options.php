<?php
/**
 * Options.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * What the site was told, and what it noticed. No option holds a secret.
 */
final class Sluice_Options {

	public const NAMES = array(
		'sluice_db_version',
		'sluice_site_uuid',
		'sluice_keys',
		'sluice_jwks_url',
		'sluice_jwks_state',
		'sluice_pull_state',
		'sluice_gateway',
		'sluice_tenant',
		'sluice_types',
		'sluice_retention_days',
		'sluice_remove_data',
		'sluice_seen',
		'sluice_refused',
		'sluice_swept_at',
	);

	/** What is done with a job whose type has no settings. */
	public const DEFAULT_TYPE = array(
		'mode'      => 'post',
		'post_type' => 'post',
		'status'    => 'draft',
		'author'    => 0,
		'category'  => 0,
		'template'  => '',
		'target'    => 0,
	);

	/** This site's id in the audience of tokens; a token for one site is worth nothing at another. */
	public static function site_uuid(): string {
		$uuid = (string) get_option( 'sluice_site_uuid', '' );
		if ( ! wp_is_uuid( $uuid ) ) {
			add_option( 'sluice_site_uuid', wp_generate_uuid4(), '', false );
			wp_cache_delete( 'sluice_site_uuid', 'options' );
			wp_cache_delete( 'notoptions', 'options' );
			$uuid = (string) get_option( 'sluice_site_uuid', '' );
		}
		return $uuid;
	}

	/**
	 * Settings of a job type; those of `*` where it has none.
	 *
	 * @param string $type The type.
	 * @return array{mode:string,post_type:string,status:string,author:int,category:int,template:string,target:int}
	 */
	public static function type( string $type ): array {
		$types = self::types();
		return $types[ $type ] ?? $types['*'];
	}

	/**
	 * Settings of all job types, `*` among them.
	 *
	 * @return array<string,array>
	 */
	public static function types(): array {
		$stored = get_option( 'sluice_types', array() );
		$types  = array( '*' => self::DEFAULT_TYPE );
		foreach ( is_array( $stored ) ? $stored : array() as $name => $type ) {
			$types[ $name ] = array_merge( self::DEFAULT_TYPE, is_array( $type ) ? $type : array() );
		}
		return $types;
	}

	/** Days that jobs without an open question are kept. */
	public static function retention_days(): int {
		return min( 3650, max( 7, (int) get_option( 'sluice_retention_days', 180 ) ) );
	}

	/**
	 * Remembers that the gateway was here, at most once in ten seconds: for Site Health.
	 *
	 * @param string $header Which header brought the token.
	 * @param int    $issued The token's `iat`.
	 */
	public static function saw( string $header, int $issued ): void {
		$seen = self::seen();
		$now  = time();
		if ( $now - $seen['at'] < 10 && $seen['header'] === $header ) {
			return;
		}
		$seen = array(
			'at'     => $now,
			'header' => $header,
			'skew'   => $now - $issued,
			'https'  => is_ssl(),
		);
		update_option( 'sluice_seen', $seen, false );
	}

	/**
	 * When and how the gateway was last here.
	 *
	 * @return array{at:int,header:string,skew:int,https:bool}
	 */
	public static function seen(): array {
		$none = array(
			'at'     => 0,
			'header' => '',
			'skew'   => 0,
			'https'  => false,
		);
		$seen = get_option( 'sluice_seen', array() );
		return array_merge( $none, is_array( $seen ) ? $seen : array() );
	}

	/**
	 * Remembers why a token was refused: the verifier's word only, nothing of the request, at most once
	 * a minute, since anybody can be refused.
	 *
	 * @param string $reason The word.
	 */
	public static function refused( string $reason ): void {
		$last = self::last_refusal();
		if ( time() - $last['at'] >= 60 ) {
			update_option(
				'sluice_refused',
				array(
					'at'     => time(),
					'reason' => $reason,
				),
				false
			);
		}
	}

	/**
	 * The last refusal that was remembered.
	 *
	 * @return array{at:int,reason:string}
	 */
	public static function last_refusal(): array {
		$last = get_option( 'sluice_refused', array() );
		$none = array(
			'at'     => 0,
			'reason' => '',
		);
		return array_merge( $none, is_array( $last ) ? $last : array() );
	}
}
