<?php
/**
 * The gateway's token.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Verifies the JWT that a gateway signs its requests with. Pure: no WordPress, no clock, no storage.
 *
 * One algorithm (Ed25519), keys by id from the site's own set, every claim required. The site holds
 * public keys only, so that nothing on it can make a token.
 */
final class Sluice_Token {

	public const TYPE     = 'sluice-callback+jwt';
	public const LEEWAY   = 30;
	public const MAX_TTL  = 300;
	public const MAX_SIZE = 4096;

	/**
	 * Verifies a token over a body.
	 *
	 * Cheap questions come first, the signature before anything is believed.
	 *
	 * @param string                $token     The compact token.
	 * @param string                $body      The raw body.
	 * @param array<string,string>  $keys      Public keys, raw, by key id.
	 * @param array<string,?string> $expected  `site_uuid`, `scope`; `iss` and `sub` where the site pins them.
	 * @param int                   $now       Unix seconds.
	 * @return array<string,mixed>|string The claims, or why not (for the log of this site only).
	 */
	public static function verify( string $token, string $body, array $keys, array $expected, int $now ): array|string {
		if ( '' === $token ) {
			return 'missing';
		}
		if ( strlen( $token ) > self::MAX_SIZE ) {
			return 'malformed';
		}
		$parts = explode( '.', $token );
		if ( 3 !== count( $parts ) ) {
			return 'malformed';
		}
		$head      = self::object( $parts[0] );
		$signature = self::decode( $parts[2] );
		if ( null === $head || null === $signature || SODIUM_CRYPTO_SIGN_BYTES !== strlen( $signature ) ) {
			return 'malformed';
		}
		// Headers that name a key or an extension are orders from whoever wrote the token.
		if ( array_diff_key( $head, array_flip( array( 'alg', 'typ', 'kid' ) ) ) ) {
			return 'malformed';
		}
		if ( 'EdDSA' !== ( $head['alg'] ?? null ) ) {
			return 'algorithm';
		}
		if ( self::TYPE !== ( $head['typ'] ?? null ) ) {
			return 'type';
		}
		$kid = $head['kid'] ?? null;
		$key = is_string( $kid ) ? ( $keys[ $kid ] ?? null ) : null;
		if ( null === $key || SODIUM_CRYPTO_SIGN_PUBLICKEYBYTES !== strlen( $key ) ) {
			return 'unknown_key';
		}
		if ( ! sodium_crypto_sign_verify_detached( $signature, $parts[0] . '.' . $parts[1], $key ) ) {
			return 'bad_signature';
		}
		$claims = self::object( $parts[1] );
		return null === $claims ? 'malformed' : self::judge( $claims, $body, $expected, $now );
	}

	/**
	 * What the claims of a genuine token say about this request.
	 *
	 * @param array<string,mixed>   $claims   The claims.
	 * @param string                $body     The raw body.
	 * @param array<string,?string> $expected As for verify.
	 * @param int                   $now      Unix seconds.
	 * @return array<string,mixed>|string
	 */
	private static function judge( array $claims, string $body, array $expected, int $now ): array|string {
		foreach ( array( 'iss', 'sub', 'scope', 'jti', 'body_sha256' ) as $name ) {
			if ( ! is_string( $claims[ $name ] ?? null ) || '' === $claims[ $name ] ) {
				return 'malformed';
			}
		}
		foreach ( array( 'iat', 'nbf', 'exp' ) as $name ) {
			if ( ! is_int( $claims[ $name ] ?? null ) ) {
				return 'malformed';
			}
		}
		if ( ! preg_match( '/^[0-9A-Za-z_-]{16,64}$/D', $claims['jti'] ) ) {
			return 'malformed';
		}
		$site     = (string) ( $expected['site_uuid'] ?? '' );
		$audience = $claims['aud'] ?? null;
		if ( '' === $site || ! is_array( $audience ) || ! in_array( 'wp', $audience, true ) || ! in_array( 'wp:' . $site, $audience, true ) ) {
			return 'wrong_audience';
		}
		foreach ( array( 'iss', 'sub' ) as $name ) {
			if ( '' !== (string) ( $expected[ $name ] ?? '' ) && $claims[ $name ] !== $expected[ $name ] ) {
				return 'wrong_' . $name;
			}
		}
		if ( $claims['scope'] !== $expected['scope'] ) {
			return 'scope';
		}
		$life = $claims['exp'] - $claims['iat'];
		if ( $life <= 0 || $life > self::MAX_TTL ) {
			return 'lifetime';
		}
		if ( $claims['exp'] <= $now - self::LEEWAY ) {
			return 'expired';
		}
		if ( $claims['iat'] > $now + self::LEEWAY || $claims['nbf'] > $now + self::LEEWAY ) {
			return 'not_yet';
		}
		if ( ! hash_equals( hash( 'sha256', $body ), $claims['body_sha256'] ) ) {
			return 'other_body';
		}
		return $claims;
	}

	/**
	 * A part's JSON object.
	 *
	 * @param string $part Base64url.
	 * @return array<string,mixed>|null
	 */
	private static function object( string $part ): ?array {
		$json = self::decode( $part );
		return null === $json ? null : Sluice_Json::read( $json, 4 );
	}

	/**
	 * Strict base64url: no padding, no other characters, no loose bits.
	 *
	 * @param string $text The text.
	 */
	public static function decode( string $text ): ?string {
		if ( ! preg_match( '/^[A-Za-z0-9_-]+$/D', $text ) ) {
			return null;
		}
		$bytes = base64_decode( strtr( $text, '-_', '+/' ), false );
		return false !== $bytes && self::encode( $bytes ) === $text ? $bytes : null;
	}

	/**
	 * Base64url without padding.
	 *
	 * @param string $bytes The bytes.
	 */
	public static function encode( string $bytes ): string {
		return rtrim( strtr( base64_encode( $bytes ), '+/', '-_' ), '=' );
	}

	/**
	 * The id of a public key: its RFC 7638 thumbprint.
	 *
	 * @param string $key The raw key.
	 */
	public static function thumbprint( string $key ): string {
		$jwk = '{"crv":"Ed25519","kty":"OKP","x":"' . self::encode( $key ) . '"}';
		return self::encode( hash( 'sha256', $jwk, true ) );
	}

	/**
	 * The Ed25519 keys of a JWK or a JWK set.
	 *
	 * @param string $json The JSON.
	 * @return array<string,string>|string Base64url keys by id, or what is wrong.
	 */
	public static function keys( string $json ): array|string {
		$value = Sluice_Json::read( trim( $json ), 6 );
		if ( null === $value ) {
			return 'not_json';
		}
		$jwks = isset( $value['keys'] ) ? $value['keys'] : array( $value );
		if ( ! is_array( $jwks ) || ! array_is_list( $jwks ) || count( $jwks ) > 50 ) {
			return 'not_a_set';
		}
		$keys = array();
		foreach ( $jwks as $jwk ) {
			if ( ! is_array( $jwk ) ) {
				return 'not_a_set';
			}
			if ( isset( $jwk['d'] ) ) {
				return 'private_key';
			}
			// RFC 7517 section 5: keys of other kinds are for others.
			if ( 'OKP' !== ( $jwk['kty'] ?? null ) || 'Ed25519' !== ( $jwk['crv'] ?? null ) || 'EdDSA' !== ( $jwk['alg'] ?? 'EdDSA' ) || 'sig' !== ( $jwk['use'] ?? 'sig' ) ) {
				continue;
			}
			$raw = is_string( $jwk['x'] ?? null ) ? self::decode( $jwk['x'] ) : null;
			if ( null === $raw || SODIUM_CRYPTO_SIGN_PUBLICKEYBYTES !== strlen( $raw ) ) {
				return 'bad_key';
			}
			$kid = self::thumbprint( $raw );
			if ( isset( $jwk['kid'] ) && $jwk['kid'] !== $kid ) {
				return 'bad_kid';
			}
			$keys[ $kid ] = self::encode( $raw );
		}
		return $keys ? $keys : 'no_keys';
	}
}
