<?php
use PHPUnit\Framework\TestCase;

require_once __DIR__ . '/Site.php';

/** A test against the running site. */
abstract class SiteTestCase extends TestCase {

	protected Site $site;

	protected function setUp(): void {
		$this->site = Site::get();
		$this->site->reset();
	}

	/** No test may leave an error of ours in WordPress's log. */
	protected function tearDown(): void {
		$log  = is_file( $this->site->dir . '/debug.log' ) ? file_get_contents( $this->site->dir . '/debug.log' ) : '';
		$ours = preg_grep( '#plugins/sluice|database error|Fatal#', explode( "\n", $log ) );
		@unlink( $this->site->dir . '/debug.log' );
		$this->assertSame( array(), array_values( $ours ) );
	}

	protected function assertRefused( array $answer, string $message = '' ): void {
		$this->assertSame( 401, $answer['status'], $message . $answer['body'] );
		$this->assertSame( '{"code":"sluice_refused","message":"Refused.","data":{"status":401}}', $answer['body'], $message );
		$this->assertStringContainsStringIgnoringCase( 'Cache-Control: no-store', $answer['headers'] );
	}

	protected function assertOutcome( string $outcome, int $status, array $answer ): void {
		$this->assertSame( array( $status, $outcome ), array( $answer['status'], $answer['json']['outcome'] ?? $answer['body'] ) );
	}
}
