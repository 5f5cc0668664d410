<?php
use PHPUnit\Framework\TestCase;

final class TextTest extends TestCase {

	/** What somebody might write who wants more than to be read. */
	public function hostile(): array {
		return array_map(
			static fn( string $text ): array => array( $text ),
			array(
				'<script>alert(1)</script>',
				'<img src=x onerror=alert(1)>',
				'<!-- wp:latest-posts /-->',
				'<!-- wp:html --><script>alert(1)</script><!-- /wp:html -->',
				'--><script>alert(1)</script><!--',
				'[gallery ids="1"]',
				'[[gallery]]',
				'&lt;script&gt;alert(1)&lt;/script&gt;',
				'&#91;gallery&#93; &lbrack;audio&rbrack;',
				'&amp;lt;script&amp;gt;',
				"\" onmouseover='alert(1)' x=\"",
				'</p><p style="position:fixed">',
				"a\u{202e}b\u{200b}c\u{0000}d\u{feff}",
				'<<script>script>alert(1)<</script>/script>',
			)
		);
	}

	/** @dataProvider hostile */
	public function test_hostile_text_stays_text( string $text ): void {
		foreach ( array( $text, htmlspecialchars( $text ) ) as $sent ) {
			$plain = Sluice_Text::plain( $sent );
			$html  = Sluice_Text::html( $plain );
			$this->assertDoesNotMatchRegularExpression( '/[<>\[\]"\']/', $html );
			$this->assertDoesNotMatchRegularExpression( '/[^\P{C}\n\t]/u', $plain );
			$this->assertSame( $plain, html_entity_decode( $html, ENT_QUOTES | ENT_HTML5, 'UTF-8' ), 'what is read is what was said' );
			$blocks = Sluice_Text::blocks( $plain );
			$rest   = str_replace( array( "<!-- wp:paragraph -->\n<p>", "</p>\n<!-- /wp:paragraph -->", '<br>' ), '', $blocks );
			$this->assertDoesNotMatchRegularExpression( '/[<>\[\]]/', $rest );
		}
	}

	public function test_paragraphs_and_lines_are_kept(): void {
		$this->assertSame( "<!-- wp:paragraph -->\n<p>One<br>two</p>\n<!-- /wp:paragraph -->\n\n<!-- wp:paragraph -->\n<p>C:\\new 日本語</p>\n<!-- /wp:paragraph -->", Sluice_Text::blocks( Sluice_Text::plain( "One\r\ntwo\n \n\n\nC:\\new 日本語\n" ) ) );
		$this->assertSame( '', Sluice_Text::blocks( '' ) );
		$this->assertSame( 'a b', Sluice_Text::line( " a\n\n b " ) );
	}
}
