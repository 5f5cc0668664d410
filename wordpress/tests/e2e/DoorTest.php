<?php
require_once __DIR__ . '/SiteTestCase.php';

/** Who gets in. */
final class DoorTest extends SiteTestCase {

	public function test_every_bad_token_gets_the_same_refusal_and_no_effect(): void {
		$site = $this->site;
		$body = Signer::body();
		$now  = time();
		$good = static fn( array $claims = array(), array $head = array() ) => $site->signed( $body, $claims, $head );
		$bare = static fn( string $token ) => array( 'path' => 'callbacks', 'body' => $body, 'headers' => array( 'X-Sluice-Authorization: Bearer ' . $token ) );
		$bad  = array(
			'no token'        => array( 'path' => 'callbacks', 'body' => $body ),
			'no bearer'       => array( 'path' => 'callbacks', 'body' => $body, 'headers' => array( 'X-Sluice-Authorization: Basic YTpi' ) ),
			'none'            => $bare( Sluice_Token::encode( '{"alg":"none","typ":"sluice-callback+jwt"}' ) . '.' . Sluice_Token::encode( json_encode( Signer::claims( $body, $site->uuid, $now ) ) ) . '.' ),
			'HS256'           => $good( array(), array( 'alg' => 'HS256' ) ),
			'unknown kid'     => $good( array(), array( 'kid' => 'x' ) ),
			'another key'     => $bare( ( new Signer( 'thief' ) )->sign( Signer::claims( $body, $site->uuid, $now ) ) ),
			'expired'         => $good( array( 'iat' => $now - 200, 'nbf' => $now - 200, 'exp' => $now - 140 ) ),
			'another site'    => $good( array( 'aud' => array( 'wp', 'wp:11111111-2222-4333-8444-555555555555' ) ) ),
			'another body'    => array( 'body' => str_replace( 'Twelve', 'Twenty', $body ) ) + $good(),
			'no JSON'         => array( 'path' => 'callbacks', 'body' => '{' ),
			'another scope'   => $good( array( 'scope' => 'status:write' ) ),
			'another job'     => $good( array( 'job_id' => 'job_0000000000000000' ) ),
			'another fence'   => $good( array( 'fence' => 999999 ) ),
			'another tenant'  => $good( array( 'sub' => 'other' ) ),
			'a form'          => array( 'path' => 'callbacks', 'body' => 'a=b', 'type' => 'Content-Type: application/x-www-form-urlencoded' ),
			'route in capitals' => array( 'path' => '../SLUICE/V1/Callbacks', 'url' => $site->url . '/?rest_route=/SLUICE/V1/Callbacks', 'body' => $body ),
		);
		foreach ( $bad as $name => $request ) {
			$this->assertRefused( $site->send( $request ), $name . ': ' );
		}
		$this->assertSame( array(), $site->posts() );
		$this->assertSame( '0', $site->value( 'SELECT COUNT(*) FROM wp_sluice_inbox' ) );
		$this->assertOutcome( 'created', 201, $site->send( $good() ) );
	}

	public function test_a_token_is_good_for_one_request_even_when_twenty_come_at_once(): void {
		$request = $this->site->signed( Signer::body() );
		$answers = $this->site->send_all( array_fill( 0, 20, $request ) );
		$status  = array_count_values( array_column( $answers, 'status' ) );
		$this->assertSame( array( 1, 19 ), array( $status[201] ?? 0, $status[401] ?? 0 ), json_encode( $status ) );
		$this->assertRefused( $this->site->send( $request ) );
		$this->assertCount( 1, $this->site->posts() );
	}

	public function test_either_header_and_either_address_will_do(): void {
		foreach ( array( 'X-Sluice-Authorization', 'Authorization' ) as $header ) {
			foreach ( array( '/?rest_route=/sluice/v1/callbacks', '/wp-json/sluice/v1/callbacks' ) as $path ) {
				$request            = $this->site->signed( Signer::body() );
				$request['headers'] = array_values( preg_grep( '/^' . $header . ':/', $request['headers'] ) );
				$request['url']     = $this->site->url . $path;
				$this->assertOutcome( 'created', 201, $this->site->send( $request ) );
			}
		}
	}

	public function test_a_plugin_that_takes_every_bearer_token_does_not_keep_ours_out(): void {
		touch( $this->site->dir . '/hijack' );
		$this->assertOutcome( 'created', 201, $this->site->callback() );
		$this->assertRefused( $this->site->send( $this->site->signed( Signer::body(), array( 'scope' => 'x' ) ) ) );
	}

	public function test_a_genuine_request_that_does_not_fit_is_told_so(): void {
		$this->assertSame( 413, $this->site->callback( array( 'later_field' => str_repeat( 'x', 262144 ) ) )['status'] );
		$this->assertSame( 415, $this->site->send( array( 'type' => 'Content-Type: text/plain' ) + $this->site->signed( Signer::body() ) )['status'] );
		$answer = $this->site->callback( array( 'post_key' => 'x', 'title' => '' ) );
		$this->assertSame( array( 422, array( 'post_key', 'title' ) ), array( $answer['status'], $answer['json']['data']['fields'] ) );
		$this->assertSame( 404, $this->site->send( array( 'path' => 'callbacks', 'method' => 'DELETE' ) )['status'] );
	}

	public function test_a_pinned_gateway_or_tenant_keeps_others_out(): void {
		$this->site->wp( 'update_option( "sluice_gateway", "https://other.example" );' );
		$this->assertRefused( $this->site->callback() );
		$this->site->wp( 'update_option( "sluice_gateway", "https://hooks.example.com" ); update_option( "sluice_tenant", "acme" );' );
		$this->assertOutcome( 'created', 201, $this->site->callback() );
	}

	public function test_strangers_learn_nothing_from_the_list_of_routes(): void {
		foreach ( array( '/?rest_route=/', '/?rest_route=/sluice/v1' ) as $path ) {
			$answer = $this->site->send( array( 'url' => $this->site->url . $path, 'method' => 'GET' ) );
			$this->assertStringNotContainsString( 'sluice\/v1\/callbacks', $answer['body'], $path );
		}
		foreach ( array( 'jobs', 'self-test', 'health' ) as $path ) {
			$this->assertSame( 401, $this->site->send( array( 'path' => $path, 'method' => 'GET' ) )['status'], $path );
		}
	}

	public function test_the_reason_is_on_the_settings_page_and_nowhere_else(): void {
		$this->assertRefused( $this->site->send( $this->site->signed( Signer::body(), array( 'aud' => array( 'wp' ) ) ) ) );
		$this->assertSame( 'wrong_audience', $this->site->wp( 'return get_option( "sluice_refused" )["reason"];' ) );
	}

	public function test_health_tells_the_gateway_how_its_requests_arrive(): void {
		$this->site->callback();
		$answer = $this->site->send( array( 'method' => 'GET', 'body' => '' ) + $this->site->signed( '', array( 'scope' => 'health:read' ), array(), 'health' ) );
		$this->assertSame( 200, $answer['status'], $answer['body'] );
		$this->assertSame( array( 'X-Sluice-Authorization', array( $this->site->signer->kid() ) ), array( $answer['json']['header'], $answer['json']['kids'] ) );
	}
}
