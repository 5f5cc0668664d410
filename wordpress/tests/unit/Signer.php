<?php
/** A gateway's signer, for good tokens and for every kind of bad one. */
final class Signer {

	private string $secret;
	public string $public;

	public function __construct( string $seed = 'a' ) {
		$pair         = sodium_crypto_sign_seed_keypair( hash( 'sha256', $seed, true ) );
		$this->secret = sodium_crypto_sign_secretkey( $pair );
		$this->public = sodium_crypto_sign_publickey( $pair );
	}

	public function kid(): string {
		return Sluice_Token::thumbprint( $this->public );
	}

	public function keys(): array {
		return array( $this->kid() => $this->public );
	}

	public function jwks(): string {
		return json_encode( array( 'keys' => array( array( 'kty' => 'OKP', 'crv' => 'Ed25519', 'x' => Sluice_Token::encode( $this->public ), 'kid' => $this->kid(), 'alg' => 'EdDSA', 'use' => 'sig' ) ) ) );
	}

	/** Claims of a good token over a body. A null in $change removes a claim. */
	public static function claims( string $body, string $site, int $now, array $change = array() ): array {
		$claims = array(
			'iss'         => 'https://hooks.example.com',
			'aud'         => array( 'wp', 'wp:' . $site ),
			'sub'         => 'acme',
			'scope'       => 'job:write',
			'iat'         => $now,
			'nbf'         => $now,
			'exp'         => $now + 60,
			'jti'         => bin2hex( random_bytes( 16 ) ),
			'body_sha256' => hash( 'sha256', $body ),
		);
		$said = json_decode( $body, true );
		foreach ( array( 'job_id', 'fence' ) as $name ) {
			if ( isset( $said[ $name ] ) ) {
				$claims[ $name ] = $said[ $name ];
			}
		}
		return array_filter( array_merge( $claims, $change ), static fn( $value ) => null !== $value );
	}

	public function sign( array $claims, array $head = array() ): string {
		$head = array_filter( array_merge( array( 'typ' => 'sluice-callback+jwt', 'alg' => 'EdDSA', 'kid' => $this->kid() ), $head ), static fn( $value ) => null !== $value );
		return $this->sign_raw( json_encode( $head ), json_encode( $claims ) );
	}

	public function sign_raw( string $head, string $claims ): string {
		$text = Sluice_Token::encode( $head ) . '.' . Sluice_Token::encode( $claims );
		return $text . '.' . Sluice_Token::encode( sodium_crypto_sign_detached( $text, $this->secret ) );
	}

	/** A body of a callback. */
	public static function body( array $change = array() ): string {
		static $fence = 0;
		$body = array(
			'schema_version' => 1,
			'job_id'         => 'job_' . bin2hex( random_bytes( 16 ) ),
			'event_id'       => 'evt_' . bin2hex( random_bytes( 16 ) ),
			'source'         => 'sluice',
			'tenant'         => 'acme',
			'type'           => 'summarize_and_publish',
			'state'          => 'succeeded',
			'post_key'       => bin2hex( random_bytes( 32 ) ),
			'fence'          => ++$fence,
			'occurred_at'    => '2026-11-24T07:59:58.250Z',
			'title'          => 'Invoice paid',
			'summary'        => 'Twelve euros.',
			'artifacts'      => array(),
			'trace_id'       => bin2hex( random_bytes( 16 ) ),
		);
		return json_encode( array_filter( array_merge( $body, $change ), static fn( $value ) => null !== $value ) );
	}
}
