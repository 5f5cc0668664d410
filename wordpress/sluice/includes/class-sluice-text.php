<?php
/**
 * Hostile text made harmless.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Titles and summaries may have been written by whoever wrote to a vendor, through a model that obeys
 * them. They are text and stay text: no tags, no block delimiters, no shortcodes, no hidden characters.
 */
final class Sluice_Text {

	/**
	 * Plain text of HTML text, in several lines.
	 *
	 * @param string $html HTML text as the gateway sends it.
	 */
	public static function plain( string $html ): string {
		$text = html_entity_decode( $html, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8' );
		$text = str_replace( array( "\r\n", "\r", "\u{2028}", "\u{2029}" ), "\n", $text );
		// Control, format (bidi, zero width), private use and unassigned characters have no picture.
		$text = (string) preg_replace( '/[^\P{C}\n\t]/u', '', $text );
		return trim( (string) preg_replace( '/\n\s*\n\s*/u', "\n\n", $text ) );
	}

	/**
	 * Plain text on one line.
	 *
	 * @param string $html HTML text.
	 */
	public static function line( string $html ): string {
		return trim( (string) preg_replace( '/\s+/u', ' ', self::plain( $html ) ) );
	}

	/**
	 * Plain text as HTML that neither browser, block parser nor shortcode parser acts on.
	 *
	 * @param string $plain Plain text.
	 */
	public static function html( string $plain ): string {
		$html = htmlspecialchars( $plain, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8' );
		return strtr(
			$html,
			array(
				'['      => '&#091;',
				']'      => '&#093;',
				'&apos;' => '&#039;',
			)
		);
	}

	/**
	 * Plain text as paragraph blocks.
	 *
	 * @param string $plain Plain text.
	 */
	public static function blocks( string $plain ): string {
		$blocks = array();
		foreach ( preg_split( '/\n\s*\n/u', $plain, -1, PREG_SPLIT_NO_EMPTY ) as $paragraph ) {
			$lines    = array_map( array( self::class, 'html' ), explode( "\n", trim( $paragraph ) ) );
			$blocks[] = "<!-- wp:paragraph -->\n<p>" . implode( '<br>', $lines ) . "</p>\n<!-- /wp:paragraph -->";
		}
		return implode( "\n\n", $blocks );
	}
}
