<?php
use PHPUnit\Framework\TestCase;

final class TokenTest extends TestCase {

	private const SITE = '7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6';
	private const NOW  = 1795507205;
	private const BODY = '{"job_id":"job_0193a7d4c1e87cc0a3f0c5d6e7f80911","fence":42}';

	private static function golden(): array {
		return json_decode( file_get_contents( dirname( __DIR__, 3 ) . '/tests/fixtures/wordpress/golden.json' ), true );
	}

	private function verify( string $token, array $change = array() ): array|string {
		$signer = new Signer();
		return Sluice_Token::verify(
			$token,
			$change['body'] ?? self::BODY,
			$change['keys'] ?? $signer->keys(),
			array(
				'site_uuid' => $change['site_uuid'] ?? self::SITE,
				'scope'     => $change['scope'] ?? 'job:write',
				'iss'       => $change['iss'] ?? '',
				'sub'       => $change['sub'] ?? '',
			),
			$change['now'] ?? self::NOW
		);
	}

	private function token( array $claims = array(), array $head = array() ): string {
		return ( new Signer() )->sign( Signer::claims( self::BODY, self::SITE, self::NOW, $claims ), $head );
	}

	public function test_the_golden_request_that_the_gateway_makes_byte_for_byte_is_accepted(): void {
		$golden = self::golden();
		$keys   = Sluice_Token::keys( json_encode( $golden['jwk'] ) );
		$this->assertSame( array( $golden['jwk']['kid'] ), array_keys( $keys ) );
		foreach ( array( 'x-sluice-authorization', 'authorization' ) as $header ) {
			$claims = Sluice_Token::verify(
				substr( $golden['headers'][ $header ], 7 ),
				$golden['body'],
				array_map( array( 'Sluice_Token', 'decode' ), $keys ),
				array( 'site_uuid' => $golden['site_uuid'], 'scope' => 'job:write' ),
				strtotime( $golden['now'] )
			);
			$this->assertIsArray( $claims );
			$callback = Sluice_Callback::read( $golden['body'] );
			$this->assertInstanceOf( Sluice_Callback::class, $callback );
			$this->assertSame( $claims['job_id'], $callback->job_id );
			$this->assertSame( 'Invoice in_4711 paid: 12,00 € <b>&</b> [gallery]', Sluice_Text::line( $callback->title ) );
		}
	}

	public function test_a_good_token_gives_its_claims(): void {
		$this->assertSame( 'acme', $this->verify( $this->token() )['sub'] );
	}

	public function test_two_keys_are_good_while_both_are_published_and_a_retired_one_is_not(): void {
		list( $old, $new ) = array( new Signer(), new Signer( 'new' ) );
		$set               = static fn( Signer ...$signers ) => json_encode( array( 'keys' => array_merge( ...array_map( static fn( $signer ) => json_decode( $signer->jwks(), true )['keys'], $signers ) ) ) );
		$under             = function ( string $jwks ) use ( $old, $new ): array {
			$keys   = array_map( array( 'Sluice_Token', 'decode' ), Sluice_Token::keys( $jwks ) );
			$claims = Signer::claims( self::BODY, self::SITE, self::NOW );
			return array_map( fn( $signer ) => is_array( $said = $this->verify( $signer->sign( $claims ), array( 'keys' => $keys ) ) ) ? 'good' : $said, array( $old, $new ) );
		};
		$this->assertSame( array( 'good', 'unknown_key' ), $under( $set( $old ) ) );
		$this->assertSame( array( 'good', 'good' ), $under( $set( $old, $new ) ) );
		$this->assertSame( array( 'good', 'good' ), $under( $set( $new, $old ) ), 'in any order' );
		$this->assertSame( array( 'unknown_key', 'good' ), $under( $set( $new ) ) );
	}

	public function refused(): array {
		$hs256 = static function (): string {
			$signer = new Signer();
			$text   = Sluice_Token::encode( json_encode( array( 'alg' => 'HS256', 'typ' => 'sluice-callback+jwt', 'kid' => $signer->kid() ) ) ) . '.' . Sluice_Token::encode( json_encode( Signer::claims( self::BODY, self::SITE, self::NOW ) ) );
			// Long enough for a signature of the right length.
			return $text . '.' . Sluice_Token::encode( hash_hmac( 'sha512', $text, $signer->public, true ) );
		};
		$twice = static function ( string $claims ): string {
			$signer = new Signer();
			return $signer->sign_raw( json_encode( array( 'alg' => 'EdDSA', 'typ' => 'sluice-callback+jwt', 'kid' => $signer->kid() ) ), $claims );
		};
		$good  = json_encode( Signer::claims( self::BODY, self::SITE, self::NOW ) );
		$whole = $this->token();
		list( $head, $claims, $signature ) = explode( '.', $whole );
		return array(
			'none'                    => array( 'missing', '' ),
			'not a token'             => array( 'malformed', 'abc' ),
			'four parts'              => array( 'malformed', $whole . '.x' ),
			'padding'                 => array( 'malformed', "$head=.$claims.$signature" ),
			'another alphabet'        => array( 'malformed', "$head.$claims." . strtr( $signature, '-_', '+/' ) . '+' ),
			'loose bits'              => array( 'malformed', "$head.$claims." . substr( $signature, 0, -1 ) . ( 'A' === substr( $signature, -1 ) ? 'B' : chr( ord( substr( $signature, -1 ) ) + 1 ) ) ),
			'too long'                => array( 'malformed', $this->token( array( 'pad' => str_repeat( 'x', 4096 ) ) ) ),
			'alg none'                => array( 'algorithm', $this->token( array(), array( 'alg' => 'none' ) ) ),
			'alg in other case'       => array( 'algorithm', $this->token( array(), array( 'alg' => 'eddsa' ) ) ),
			'alg HS256 by public key' => array( 'algorithm', $hs256() ),
			'no alg'                  => array( 'algorithm', $this->token( array(), array( 'alg' => null ) ) ),
			'plain JWT'               => array( 'type', $this->token( array(), array( 'typ' => 'JWT' ) ) ),
			'unknown kid'             => array( 'unknown_key', $this->token( array(), array( 'kid' => 'other' ) ) ),
			'kid that is a path'      => array( 'unknown_key', $this->token( array(), array( 'kid' => '../../wp-config.php' ) ) ),
			'kid that is a list'      => array( 'unknown_key', $this->token( array(), array( 'kid' => array( 'a' ) ) ) ),
			'no kid'                  => array( 'unknown_key', $this->token( array(), array( 'kid' => null ) ) ),
			'crit'                    => array( 'malformed', $this->token( array(), array( 'crit' => array( 'exp' ) ) ) ),
			'jku'                     => array( 'malformed', $this->token( array(), array( 'jku' => 'https://evil.example' ) ) ),
			'jwk'                     => array( 'malformed', $this->token( array(), array( 'jwk' => array( 'kty' => 'OKP' ) ) ) ),
			'x5u'                     => array( 'malformed', $this->token( array(), array( 'x5u' => 'https://evil.example' ) ) ),
			'another key'             => array( 'bad_signature', ( new Signer( 'b' ) )->sign( Signer::claims( self::BODY, self::SITE, self::NOW ), array( 'kid' => ( new Signer() )->kid() ) ) ),
			'changed claims'          => array( 'bad_signature', "$head." . Sluice_Token::encode( str_replace( 'acme', 'evil', $good ) ) . ".$signature" ),
			'a claim twice'           => array( 'malformed', $twice( substr( $good, 0, -1 ) . ',"sub":"evil"}' ) ),
			'a claim twice, escaped'  => array( 'malformed', $twice( substr( $good, 0, -1 ) . ',"\u0073ub":"evil"}' ) ),
			'a list for claims'       => array( 'malformed', $twice( '[1]' ) ),
			'wrong audience'          => array( 'wrong_audience', $this->token( array( 'aud' => array( 'wp', 'wp:another' ) ) ) ),
			'only the general one'    => array( 'wrong_audience', $this->token( array( 'aud' => array( 'wp' ) ) ) ),
			'only the site'           => array( 'wrong_audience', $this->token( array( 'aud' => array( 'wp:' . self::SITE ) ) ) ),
			'audience as text'        => array( 'wrong_audience', $this->token( array( 'aud' => 'wp:' . self::SITE ) ) ),
			'no audience'             => array( 'wrong_audience', $this->token( array( 'aud' => null ) ) ),
			'a scope of another door' => array( 'scope', $this->token( array( 'scope' => 'outbox:run' ) ) ),
			'no scope'                => array( 'malformed', $this->token( array( 'scope' => null ) ) ),
			'no issuer'               => array( 'malformed', $this->token( array( 'iss' => null ) ) ),
			'no jti'                  => array( 'malformed', $this->token( array( 'jti' => null ) ) ),
			'a short jti'             => array( 'malformed', $this->token( array( 'jti' => 'abc' ) ) ),
			'a jti with a newline'    => array( 'malformed', $this->token( array( 'jti' => str_repeat( 'a', 32 ) . "\n" ) ) ),
			'no exp'                  => array( 'malformed', $this->token( array( 'exp' => null ) ) ),
			'no nbf'                  => array( 'malformed', $this->token( array( 'nbf' => null ) ) ),
			'no iat'                  => array( 'malformed', $this->token( array( 'iat' => null ) ) ),
			'exp as text'             => array( 'malformed', $this->token( array( 'exp' => (string) ( self::NOW + 60 ) ) ) ),
			'exp as a fraction'       => array( 'malformed', $this->token( array( 'exp' => self::NOW + 60.5 ) ) ),
			'exp beyond integers'     => array( 'malformed', $twice( str_replace( '"exp":' . ( self::NOW + 60 ), '"exp":99999999999999999999', $good ) ) ),
			'a long life'             => array( 'lifetime', $this->token( array( 'exp' => self::NOW + 301 ) ) ),
			'ends before it begins'   => array( 'lifetime', $this->token( array( 'exp' => self::NOW ) ) ),
			'expired'                 => array( 'expired', $this->token( array( 'iat' => self::NOW - 90, 'nbf' => self::NOW - 90, 'exp' => self::NOW - 30 ) ) ),
			'from the future'         => array( 'not_yet', $this->token( array( 'iat' => self::NOW + 31, 'exp' => self::NOW + 91 ) ) ),
			'not before later'        => array( 'not_yet', $this->token( array( 'nbf' => self::NOW + 31 ) ) ),
			'of another body'         => array( 'other_body', $this->token( array( 'body_sha256' => hash( 'sha256', 'x' ) ) ) ),
			'digest in other case'    => array( 'other_body', $this->token( array( 'body_sha256' => strtoupper( hash( 'sha256', self::BODY ) ) ) ) ),
			'no digest'               => array( 'malformed', $this->token( array( 'body_sha256' => null ) ) ),
		);
	}

	/** @dataProvider refused */
	public function test_a_bad_token_is_refused( string $reason, string $token ): void {
		$this->assertSame( $reason, $this->verify( $token ) );
	}

	public function test_clocks_may_differ_by_half_a_minute(): void {
		$this->assertIsArray( $this->verify( $this->token(), array( 'now' => self::NOW + 89 ) ) );
		$this->assertSame( 'expired', $this->verify( $this->token(), array( 'now' => self::NOW + 90 ) ) );
		$this->assertIsArray( $this->verify( $this->token(), array( 'now' => self::NOW - 30 ) ) );
		$this->assertSame( 'not_yet', $this->verify( $this->token(), array( 'now' => self::NOW - 31 ) ) );
	}

	public function test_gateway_and_tenant_are_held_to_what_the_site_pins(): void {
		$this->assertIsArray( $this->verify( $this->token(), array( 'iss' => 'https://hooks.example.com', 'sub' => 'acme' ) ) );
		$this->assertSame( 'wrong_iss', $this->verify( $this->token(), array( 'iss' => 'https://other.example' ) ) );
		$this->assertSame( 'wrong_sub', $this->verify( $this->token(), array( 'sub' => 'other' ) ) );
	}

	public function test_without_keys_or_without_an_id_of_the_site_everything_is_refused(): void {
		$this->assertSame( 'unknown_key', $this->verify( $this->token(), array( 'keys' => array() ) ) );
		$this->assertSame( 'unknown_key', $this->verify( $this->token(), array( 'keys' => array( ( new Signer() )->kid() => '' ) ) ) );
		$this->assertSame( 'wrong_audience', $this->verify( $this->token( array( 'aud' => array( 'wp', 'wp:' ) ) ), array( 'site_uuid' => '' ) ) );
	}

	public function test_the_thumbprint_is_that_of_rfc_8037(): void {
		$key = Sluice_Token::decode( '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' );
		$this->assertSame( 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k', Sluice_Token::thumbprint( $key ) );
	}

	public function test_key_sets_are_read_and_strange_ones_are_named(): void {
		$signer = new Signer();
		$this->assertSame( array( $signer->kid() => Sluice_Token::encode( $signer->public ) ), Sluice_Token::keys( $signer->jwks() ) );
		$jwk = json_decode( $signer->jwks(), true )['keys'][0];
		$this->assertSame( 'private_key', Sluice_Token::keys( json_encode( $jwk + array( 'd' => 'x' ) ) ) );
		$this->assertSame( 'bad_kid', Sluice_Token::keys( json_encode( array( 'kid' => 'x' ) + $jwk ) ) );
		$this->assertSame( 'bad_key', Sluice_Token::keys( json_encode( array( 'x' => 'AAAA' ) + $jwk ) ) );
		$this->assertSame( 'no_keys', Sluice_Token::keys( '{"keys":[{"kty":"RSA","n":"x","e":"AQAB"}]}' ) );
		$this->assertSame( 'no_keys', Sluice_Token::keys( '{"keys":[]}' ) );
		$this->assertSame( 'not_a_set', Sluice_Token::keys( '{"keys":"x"}' ) );
		$this->assertSame( 'not_json', Sluice_Token::keys( 'x' ) );
		$this->assertSame( 'not_json', Sluice_Token::keys( '' ) );
	}
}
