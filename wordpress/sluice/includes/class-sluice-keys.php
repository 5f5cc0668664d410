<?php
/**
 * The gateway's public keys.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Keys by id: pasted, from a constant, or fetched as a JWK set. Never fetched while a request of the
 * gateway waits, or anybody could make the site call out.
 */
final class Sluice_Keys {

	/**
	 * Raw keys by id. Empty where none is usable: then everything is refused.
	 *
	 * @return array<string,string>
	 */
	public static function usable(): array {
		$raw = array();
		foreach ( self::stored() as $kid => $key ) {
			$bytes = is_string( $key ) ? Sluice_Token::decode( $key ) : null;
			if ( null !== $bytes && SODIUM_CRYPTO_SIGN_PUBLICKEYBYTES === strlen( $bytes ) ) {
				$raw[ (string) $kid ] = $bytes;
			}
		}
		return $raw;
	}

	/**
	 * Base64url keys by id.
	 *
	 * @return array<string,string>
	 */
	public static function stored(): array {
		if ( self::is_fixed() ) {
			$keys = Sluice_Token::keys( (string) constant( 'SLUICE_JWKS' ) );
			return is_array( $keys ) ? $keys : array();
		}
		$keys = get_option( 'sluice_keys', array() );
		return is_array( $keys ) ? $keys : array();
	}

	/** Whether wp-config.php sets the keys; it wins over the settings. */
	public static function is_fixed(): bool {
		return defined( 'SLUICE_JWKS' );
	}

	/**
	 * Whether keys may be fetched from there.
	 *
	 * @param string $url The URL.
	 */
	public static function may_fetch( string $url ): bool {
		$parts = wp_parse_url( $url );
		if ( ! is_array( $parts ) || ! isset( $parts['scheme'], $parts['host'] ) || isset( $parts['user'] ) || strlen( $url ) > 500 ) {
			return false;
		}
		return 'https' === $parts['scheme'] || ( 'http' === $parts['scheme'] && in_array( $parts['host'], array( '127.0.0.1', 'localhost', '[::1]' ), true ) );
	}

	/**
	 * Whether to fetch now: each hour, and with the next run after a token by a key that this site does not
	 * know, so that a gateway may change its keys. From the address that was entered, or from the gateway
	 * that this site may ask: at once where there is no key, later only what was fetched from there.
	 */
	public static function are_due(): bool {
		$state = self::fetch_state();
		$old   = $state['missed'] || time() - $state['at'] > HOUR_IN_SECONDS;
		if ( '' !== (string) get_option( 'sluice_jwks_url', '' ) ) {
			return $old;
		}
		return Sluice_Pull::is_on() && ( ! self::usable() || ( $old && $state['at'] > 0 ) );
	}

	/** A token named a key that this site does not know. It looks later: whoever sent it does not make the site call out. */
	public static function missed(): void {
		$state = self::fetch_state();
		// One row for however many strangers.
		if ( ! $state['missed'] && ! self::is_fixed() ) {
			update_option( 'sluice_jwks_state', array_merge( $state, array( 'missed' => true ) ), false );
		}
	}

	/**
	 * Fetches the keys. The last good set stays in force when that fails.
	 *
	 * @return true|WP_Error
	 */
	public static function fetch(): bool|WP_Error {
		$url  = (string) get_option( 'sluice_jwks_url', '' );
		$pull = '' === $url && Sluice_Pull::is_on();
		if ( self::is_fixed() || ( ! $pull && ! self::may_fetch( $url ) ) ) {
			return new WP_Error( 'sluice_no_url', __( 'There is no https address to fetch the keys from.', 'sluice' ) );
		}
		$answer = $pull ? Sluice_Pull::keys() : wp_safe_remote_get(
			$url,
			array(
				'timeout'             => 8,
				'redirection'         => 0,
				'limit_response_size' => 65536,
				'headers'             => array( 'Accept' => 'application/jwk-set+json, application/json' ),
			)
		);
		$result = self::take( $answer );
		update_option(
			'sluice_jwks_state',
			array(
				'at'    => time(),
				'error' => is_wp_error( $result ) ? $result->get_error_message() : '',
			),
			false
		);
		return $result;
	}

	/**
	 * Takes the keys of an answer.
	 *
	 * @param array|WP_Error $answer The answer.
	 * @return true|WP_Error
	 */
	private static function take( array|WP_Error $answer ): bool|WP_Error {
		if ( is_wp_error( $answer ) ) {
			return new WP_Error( 'sluice_fetch', __( 'The gateway could not be reached.', 'sluice' ) );
		}
		if ( 200 !== (int) wp_remote_retrieve_response_code( $answer ) ) {
			return new WP_Error( 'sluice_fetch', __( 'The address did not answer with keys.', 'sluice' ) );
		}
		$keys = Sluice_Token::keys( (string) wp_remote_retrieve_body( $answer ) );
		if ( ! is_array( $keys ) ) {
			return new WP_Error( 'sluice_fetch', self::problem( $keys ) );
		}
		update_option( 'sluice_keys', $keys, false );
		return true;
	}

	/**
	 * What is wrong with pasted or fetched keys.
	 *
	 * @param string $code The reader's word.
	 */
	public static function problem( string $code ): string {
		$words = array(
			'not_json'    => __( 'This is not a JSON object. Copy all of what the gateway shows at /.well-known/jwks.json.', 'sluice' ),
			'not_a_set'   => __( 'This is not a key or a key set.', 'sluice' ),
			'private_key' => __( 'This holds a private key. Never give that to anybody; make a new one on the gateway.', 'sluice' ),
			'bad_key'     => __( 'A key in this set is damaged.', 'sluice' ),
			'bad_kid'     => __( 'The id of a key is not its thumbprint.', 'sluice' ),
			'no_keys'     => __( 'There is no Ed25519 key in this.', 'sluice' ),
		);
		return $words[ $code ] ?? $code;
	}

	/**
	 * When keys were last fetched, what went wrong, and whether one was missed since.
	 *
	 * @return array{at:int,error:string,missed:bool}
	 */
	public static function fetch_state(): array {
		$state = get_option( 'sluice_jwks_state', array() );
		$none  = array(
			'at'     => 0,
			'error'  => '',
			'missed' => false,
		);
		return array_merge( $none, is_array( $state ) ? $state : array() );
	}
}
