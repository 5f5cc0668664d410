<?php
require_once __DIR__ . '/SiteTestCase.php';

/** What happens after an effect, and what the gateway and this site tell each other. */
final class FollowUpTest extends SiteTestCase {

	private function want( string $login, string $choice ): void {
		$this->site->wp( "update_user_meta( get_user_by( 'login', '$login' )->ID, 'sluice_notify', '$choice' );" );
	}

	private static function job( array $change = array() ): array {
		return array_merge(
			array(
				'job_id'      => 'job_' . bin2hex( random_bytes( 16 ) ),
				'type'        => 'summarize_and_publish',
				'source'      => 'payments',
				'route'       => 'invoices',
				'state'       => 'deadletter',
				'attempts'    => 8,
				'next_run_at' => null,
				'last_error'  => 'llm:api.example: answered 500',
				'updated_at'  => '2026-11-24T08:00:00.5Z',
			),
			$change
		);
	}

	public function test_one_mail_for_each_who_asked_and_none_for_what_changed_nothing(): void {
		$this->want( 'editor', 'each' );
		$this->want( 'subscriber', 'each' );
		$key  = bin2hex( random_bytes( 32 ) );
		$body = Signer::body( array( 'post_key' => $key, 'occurred_at' => '2026-11-24T08:00:00Z', 'title' => 'News &lt;b&gt;' ) );
		$this->site->send( $this->site->signed( $body ) );
		$this->assertSame( array(), $this->site->mails(), 'not while the gateway waits' );
		$this->site->nudge();
		$this->assertSame( array( 'editor@example.test' ), array_column( $this->site->mails(), 'to' ) );
		$this->assertStringContainsString( 'New: News <b>', $this->site->mails()[0]['message'] );
		$this->site->send( $this->site->signed( $body ) );
		$this->site->callback( array( 'post_key' => $key, 'occurred_at' => '2026-11-24T07:00:00Z' ) );
		$this->site->nudge();
		$this->assertCount( 1, $this->site->mails(), 'duplicate and stale tell nobody' );
		$this->site->callback( array( 'post_key' => $key, 'occurred_at' => '2026-11-24T09:00:00Z' ) );
		$this->site->nudge();
		$this->assertCount( 2, $this->site->mails() );
		$this->assertSame( '0', $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_outbox WHERE done_at = 0' ) );
	}

	public function test_a_digest_is_one_mail_about_many_results_when_its_hour_has_come(): void {
		$this->want( 'editor', 'hourly' );
		for ( $n = 1; $n <= 3; $n++ ) {
			$this->site->callback( array( 'title' => "Result $n" ) );
		}
		$this->site->nudge();
		$this->assertSame( array(), $this->site->mails() );
		$this->site->query( "UPDATE wp_sluice_outbox SET next_at = 1 WHERE action LIKE 'mail:%'" );
		$this->site->wp( 'do_action( "sluice_sweep" );' );
		$this->assertCount( 1, $this->site->mails() );
		foreach ( array( 'Result 1', 'Result 2', 'Result 3' ) as $title ) {
			$this->assertStringContainsString( $title, $this->site->mails()[0]['message'] );
		}
	}

	public function test_a_slow_mail_server_delays_no_callback(): void {
		$this->want( 'editor', 'each' );
		touch( $this->site->dir . '/slow-mail' );
		$this->site->callback();
		$this->assertSame( array(), $this->site->mails() );
		// While a nudge waits for the mail server: its worker takes no other request then.
		$nudge     = $this->site->signed( '{"schema_version":1}', array( 'scope' => 'outbox:run' ), array(), 'outbox/run' );
		$callbacks = array_map( fn() => $this->site->signed( Signer::body() ), range( 1, 4 ) );
		$mails     = null;
		$go        = function () use ( &$mails ): void {
			$mails = $this->site->mails();
			touch( $this->site->dir . '/mail-go' );
		};
		$answers   = $this->site->send_all( array( $nudge, ...$callbacks ), 'mail-begun', $go );
		$this->assertSame( array( 201, 201, 201, 201 ), array_column( array_slice( $answers, 1 ), 'status' ) );
		$this->assertSame( array(), $mails, 'all were answered while the mail server made the nudge wait' );
		$this->assertNotSame( array(), $this->site->mails() );
	}

	public function test_nudges_at_once_send_each_mail_once(): void {
		$this->want( 'editor', 'each' );
		$this->want( 'admin', 'each' );
		$this->site->callback();
		$nudge = fn() => $this->site->signed( '{"schema_version":1}', array( 'scope' => 'outbox:run' ), array(), 'outbox/run' );
		$this->site->send_all( array_map( $nudge, range( 1, 8 ) ) );
		$this->site->nudge();
		$this->assertCount( 2, $this->site->mails() );
	}

	public function test_states_that_the_gateway_reports_are_shown_and_older_reports_change_nothing(): void {
		$job = self::job();
		$this->assertSame( 200, $this->site->report( array( $job ) )['status'] );
		$this->site->report( array( array( 'state' => 'running', 'updated_at' => '2026-11-24T07:00:00Z' ) + $job ) );
		$this->assertSame( 'deadletter', $this->site->value( 'SELECT state FROM wp_sluice_jobs' ) );
		$answer = $this->site->report( array( array( 'state' => 'pending', 'updated_at' => '2026-11-24T09:00:00Z' ) + $job ) );
		$this->assertSame( 'pending', $this->site->value( 'SELECT state FROM wp_sluice_jobs' ) );
		$this->assertSame( array( 'updated_at' => '2026-11-24T09:00:00.000000Z', 'job_id' => $job['job_id'] ), $answer['json']['cursor'] );
		$this->assertNull( $this->site->send( $this->site->signed( '{"schema_version":1,"jobs":[]}', array( 'scope' => 'status:write', 'sub' => 'other' ), array(), 'status' ) )['json']['cursor'] );
	}

	public function test_a_result_and_the_report_of_it_are_one_line_with_its_post(): void {
		$body = json_decode( Signer::body(), true );
		$id   = $this->site->send( $this->site->signed( json_encode( $body ) ) )['json']['post_id'];
		$this->site->report( array( self::job( array( 'job_id' => $body['job_id'], 'state' => 'succeeded', 'last_error' => '' ) ) ) );
		$this->assertSame( array( array( 'state' => 'succeeded', 'source' => 'payments', 'post_id' => (string) $id ) ), $this->site->rows( 'SELECT state, source, post_id FROM wp_sluice_jobs' ) );
	}

	public function test_requests_are_handed_out_until_they_are_answered(): void {
		$job = self::job();
		$this->site->report( array( $job ) );
		$id = $this->site->wp( "Sluice_Requests::ask( 'retry', '{$job['job_id']}', 1 ); return Sluice_Requests::ask( 'retry', '{$job['job_id']}', 1 );" );
		$expected = array( array( 'id' => $id, 'kind' => 'retry', 'job_id' => $job['job_id'] ) );
		$this->assertSame( $expected, $this->site->report()['json']['requests'] );
		$this->assertSame( $expected, $this->site->report()['json']['requests'], 'an answer can get lost' );
		$this->assertSame( array(), $this->site->report( array(), array( array( 'id' => $id, 'outcome' => 'done' ) ) )['json']['requests'] );
		$this->assertSame( 'done', $this->site->value( 'SELECT state FROM wp_sluice_requests' ) );
	}

	public function test_a_dead_letter_that_was_dismissed_stays_so_until_something_newer_is_reported(): void {
		$job = self::job();
		$this->site->report( array( $job ) );
		$id = $this->site->wp( "return Sluice_Requests::ask( 'dismiss', '{$job['job_id']}', 1 );" );
		$this->site->report( array(), array( array( 'id' => $id, 'outcome' => 'done' ) ) );
		$this->assertSame( 'cancelled', $this->site->value( 'SELECT state FROM wp_sluice_jobs' ) );
		$this->site->report( array( $job ) );
		$this->assertSame( 'cancelled', $this->site->value( 'SELECT state FROM wp_sluice_jobs' ), 'a gateway that starts tells again' );
		$this->site->report( array( array( 'state' => 'succeeded', 'updated_at' => '2026-11-24T09:00:00Z' ) + $job ) );
		$this->assertSame( 'succeeded', $this->site->value( 'SELECT state FROM wp_sluice_jobs' ) );
	}

	public function test_a_self_test_is_green_when_the_gateway_calls_back(): void {
		$id   = $this->site->wp( "return Sluice_Requests::ask( 'self_test', '', 1 );" );
		$this->assertSame( 'self_test', $this->site->report()['json']['requests'][0]['kind'] );
		$body = json_encode( array( 'schema_version' => 1, 'request_id' => $id ) );
		$this->assertRefused( $this->site->send( $this->site->signed( $body, array(), array(), 'self-test' ) ) );
		$this->assertSame( 200, $this->site->send( $this->site->signed( $body, array( 'scope' => 'self_test:write' ), array(), 'self-test' ) )['status'] );
		$this->assertStringStartsWith( 'Good', $this->site->wp( 'require_once SLUICE_DIR . "/admin/class-sluice-settings.php"; return Sluice_Settings::self_test_text( Sluice_Requests::last_self_test() );' ) );
	}

	public function test_other_plugins_hear_of_a_result_and_may_fail_without_harm(): void {
		$this->site->callback();
		$heard = $this->site->wp( '$heard = array(); add_action( "sluice_job_applied", function ( $post_id, $info ) use ( &$heard ) { $heard[] = array( $post_id, $info["outcome"] ); throw new Exception( "x" ); }, 10, 2 ); Sluice_Outbox::run(); return $heard;' );
		$this->assertSame( array( array( (int) $this->site->posts()[0]['ID'], 'created' ) ), $heard );
		$this->assertSame( '1', $this->site->value( "SELECT attempts FROM wp_sluice_outbox WHERE action = 'hook' AND done_at = 0" ) );
		$this->site->query( 'UPDATE wp_sluice_outbox SET next_at = 1' );
		$this->site->wp( 'Sluice_Outbox::run();' );
		$this->assertSame( '0', $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_outbox WHERE done_at = 0' ) );
	}
}
