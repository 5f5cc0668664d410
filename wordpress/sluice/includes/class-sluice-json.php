<?php
/**
 * Strict JSON.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Reads a JSON object and refuses what parsers disagree about: duplicate keys, bad UTF-8, great depth.
 */
final class Sluice_Json {

	/**
	 * The object in a text, or null.
	 *
	 * @param string $text  The text.
	 * @param int    $depth How deep it may nest.
	 * @return array<string,mixed>|null
	 */
	public static function read( string $text, int $depth ): ?array {
		if ( '' === $text || '{' !== ltrim( $text, " \t\r\n" )[0] ) {
			return null;
		}
		$value = json_decode( $text, true, $depth, JSON_BIGINT_AS_STRING );
		if ( ! is_array( $value ) || self::repeats_a_key( $text ) ) {
			return null;
		}
		return $value;
	}

	/**
	 * Whether an object of a valid JSON text names a key twice.
	 *
	 * @param string $text Valid JSON.
	 */
	private static function repeats_a_key( string $text ): bool {
		preg_match_all( '/"(?:[^"\\\\]|\\\\.)*+"\s*+:?|[{}\[\]]/s', $text, $found );
		$open = array();
		foreach ( $found[0] as $piece ) {
			if ( '{' === $piece || '[' === $piece ) {
				$open[] = array();
			} elseif ( '}' === $piece || ']' === $piece ) {
				array_pop( $open );
			} elseif ( ':' === substr( $piece, -1 ) ) {
				$key = 'k' . json_decode( rtrim( substr( $piece, 0, -1 ) ) );
				$top = count( $open ) - 1;
				if ( isset( $open[ $top ][ $key ] ) ) {
					return true;
				}
				$open[ $top ][ $key ] = true;
			}
		}
		return false;
	}
}
