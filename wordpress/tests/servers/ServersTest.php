<?php
require_once dirname( __DIR__ ) . '/e2e/SiteTestCase.php';

/** Behind a web server as sites have it. SLUICE_TEST_STRIPS names the header that it removes. */
final class ServersTest extends SiteTestCase {

	/** A callback whose token comes in one header only. */
	private function by( string $header ): array {
		$request            = $this->site->signed( Signer::body() );
		$request['headers'] = array_values( preg_grep( "/^$header:/", $request['headers'] ) );
		return $request;
	}

	public function test_one_of_the_two_headers_is_enough_and_site_health_tells_which_is_removed(): void {
		$strips = (string) getenv( 'SLUICE_TEST_STRIPS' );
		$site   = $this->site;
		$this->assertOutcome( 'created', 201, $site->callback() );
		$health = $site->wp( 'return array( Sluice_Options::seen()["header"], Sluice_Health::header()["status"] );' );
		$this->assertSame( 'X-Sluice-Authorization' === $strips ? array( 'Authorization', 'recommended' ) : array( 'X-Sluice-Authorization', 'good' ), $health );
		foreach ( array( 'X-Sluice-Authorization', 'Authorization' ) as $header ) {
			$answer = $site->send( $this->by( $header ) );
			if ( $header === $strips ) {
				$this->assertRefused( $answer, $header );
			} else {
				$this->assertOutcome( 'created', 201, $answer );
			}
		}
	}

	public function test_bad_tokens_are_refused_as_everywhere(): void {
		$site = $this->site;
		$body = Signer::body();
		foreach ( array(
			'another body'  => array( 'body' => str_replace( 'Twelve', 'Twenty', $body ) ) + $site->signed( $body ),
			'another scope' => $site->signed( $body, array( 'scope' => 'status:write' ) ),
			'another site'  => $site->signed( $body, array( 'aud' => array( 'wp', 'wp:11111111-2222-4333-8444-555555555555' ) ) ),
			'no token'      => array( 'path' => 'callbacks', 'body' => $body ),
			'no JSON'       => array( 'path' => 'callbacks', 'body' => '{' ),
		) as $name => $request ) {
			$this->assertRefused( $site->send( $request ), $name );
		}
		$request = $site->signed( $body );
		$this->assertOutcome( 'created', 201, $site->send( $request ) );
		$this->assertRefused( $site->send( $request ), 'replayed' );
	}

	public function test_twenty_copies_at_once_make_one_post(): void {
		$body     = Signer::body();
		$answers  = $this->site->send_all( array_map( fn() => $this->site->signed( $body ), range( 1, 20 ) ) );
		$outcomes = array_count_values( array_map( static fn( array $answer ) => $answer['json']['outcome'] ?? $answer['body'], $answers ) );
		$this->assertEquals( array( 'created' => 1, 'duplicate' => 19 ), $outcomes );
		$this->assertCount( 1, $this->site->posts() );
	}

	public function test_php_that_dies_in_the_midst_leaves_nothing_and_the_next_attempt_has_the_whole(): void {
		$job = array( 'job_id' => 'job_' . bin2hex( random_bytes( 16 ) ), 'post_key' => bin2hex( random_bytes( 32 ) ) );
		$this->site->fault( 'die' );
		// nginx answers 502 for it; Apache's own process is gone.
		$this->assertContains( $this->site->callback( $job )['status'], array( 502, 0 ) );
		$this->assertSame( array(), $this->site->posts() );
		$this->assertOutcome( 'created', 201, $this->site->callback( $job ) );
		$this->assertOutcome( 'duplicate', 200, $this->site->callback( $job ) );
		$this->assertCount( 1, $this->site->posts() );
	}
}
