<?php
use PHPUnit\Framework\TestCase;

final class CallbackTest extends TestCase {

	public function test_a_body_of_the_contract_is_read(): void {
		$callback = Sluice_Callback::read(
			Signer::body(
				array(
					'artifacts'      => array( array( 'type' => 'report', 'id' => 'art_0193a7d4c1e87cc0a3f0c5d6e7f80912', 'url' => 'https://files.example/a?x=1&y=%20', 'expires_at' => '2026-11-24T08:00:00Z' ), array( 'type' => 'application/pdf', 'url' => 'https://files.example:8443/b', 'expires_at' => null ) ),
					'mode'           => 'meta',
					'target_post_id' => 7,
					'later_field'    => true,
				)
			)
		);
		$this->assertInstanceOf( Sluice_Callback::class, $callback );
		$this->assertSame( 1795507198250000, $callback->occurred_at );
		$this->assertSame( 1795507200, $callback->artifacts[0]['expires_at'] );
		$this->assertNull( $callback->artifacts[1]['expires_at'] );
		$this->assertSame( array( 'art_0193a7d4c1e87cc0a3f0c5d6e7f80912', '' ), array_column( $callback->artifacts, 'id' ) );
		$this->assertSame( array( 'meta', 7 ), array( $callback->mode, $callback->target ) );
		$plain = Sluice_Callback::read( Signer::body() );
		$this->assertSame( array( '', 0 ), array( $plain->mode, $plain->target ) );
	}

	public function test_each_field_is_demanded_and_held_to_its_form(): void {
		$bad = array(
			'schema_version' => array( null, 2, '1', true ),
			'job_id'         => array( null, '', 'x', 'job_', "job_0123456789\n", 'job_0123%4100000', 5, array() ),
			'event_id'       => array( null, 'job_01234567890', ' evt_0123456789' ),
			'source'         => array( null, 'other' ),
			'tenant'         => array( null, '', 'A', '../x', 'a b' ),
			'type'           => array( null, '', '<b>', 'a b', str_repeat( 'x', 65 ) ),
			'state'          => array( null, 'failed', 'deadletter' ),
			'post_key'       => array( null, '', str_repeat( 'G', 64 ), str_repeat( 'a', 63 ) ),
			'fence'          => array( null, -1, '1', 1.5 ),
			'occurred_at'    => array( null, '', 'yesterday', '2026-02-30T00:00:00Z', '2026-11-24 07:59:58Z', '2026-11-24T07:59:58' ),
			'title'          => array( null, '', "  \n", 5, str_repeat( 'x', 1001 ) ),
			'summary'        => array( null, 5, str_repeat( 'x', 30001 ) ),
			'artifacts'      => array( null, 'x', array( 'a' => 1 ), array( 5 ), array( array( 'type' => 'x' ) ), array( array( 'type' => 'x', 'url' => 'https://a.example/', 'expires_at' => 5 ) ), array( array( 'type' => 'x', 'url' => 'https://a.example/', 'id' => '../x' ) ), array( array( 'type' => 'x', 'url' => 'https://a.example/', 'id' => 'ART_0193A7D4C1E87CC0A3F0C5D6E7F80912' ) ), array( array( 'type' => 'x', 'url' => 'https://a.example/', 'id' => "art_0193a7d4c1e87cc0a3f0c5d6e7f80912\n" ) ), array( array( 'type' => 'x', 'url' => 'https://a.example/', 'id' => 5 ) ), array_fill( 0, 21, array( 'type' => 'x', 'url' => 'https://a.example/' ) ) ),
			'trace_id'       => array( null, '', 'x' ),
			'mode'           => array( 'post', 'META', 5, array( 'meta' ), true ),
			'target_post_id' => array( -1, '7', 1.5 ),
		);
		foreach ( $bad as $field => $values ) {
			foreach ( $values as $value ) {
				$this->assertSame( array( $field ), Sluice_Callback::read( Signer::body( array( $field => $value ) ) ), $field . ' = ' . json_encode( $value ) );
			}
		}
	}

	public function test_what_is_not_one_plain_json_object_is_no_body(): void {
		$good = Signer::body();
		foreach ( array( '', '[]', 'null', '"x"', '{', $good . 'x', "\xEF\xBB\xBF" . $good, substr( $good, 0, -1 ) . ',"job_id":"job_0000000000"}', str_replace( 'Twelve', "\xC3\x28", $good ), '{"a":' . str_repeat( '[', 9 ) . str_repeat( ']', 9 ) . '}' ) as $bad ) {
			$this->assertSame( array( 'body' ), Sluice_Callback::read( $bad ), $bad );
		}
	}

	public function test_the_same_key_in_two_objects_is_no_repetition(): void {
		$this->assertSame( array( 'a' => array( array( 'k' => 1 ), array( 'k' => 2 ) ), 'k' => '{"k":1,"k":2}' ), Sluice_Json::read( '{"a":[{"k":1},{"k":2}],"k":"{\"k\":1,\"k\":2}"}', 8 ) );
	}

	public function test_only_plain_https_links_are_links(): void {
		foreach ( array( 'https://a.example', 'https://a.example/', 'https://a.example:8443/x?y=1#z', 'https://xn--nxasmq6b.example/%C3%A4', 'https://a.example/' . str_repeat( 'x', 8174 ) ) as $good ) {
			$this->assertTrue( Sluice_Callback::is_link( $good ), $good );
		}
		foreach ( array( '', 'http://a.example/', '//a.example/', 'javascript:alert(1)', 'https://user@a.example/', 'https://user:pw@a.example/', 'https://a.example\\@evil.example/', 'https://', 'https:///x', 'https://a.example/ x', "https://a.example/\n", 'https://a.example/"onclick=', "https://a.example/'", 'https://a.example/<b>', 'https://ä.example/', 'HTTPS://a.example', 'https://a.example:x/', 'https://[::1]/', 5, null, 'https://a.example/' . str_repeat( 'x', 8192 ) ) as $bad ) {
			$this->assertFalse( Sluice_Callback::is_link( $bad ), json_encode( $bad ) );
		}
	}

	public function test_times_are_read_to_the_microsecond_whatever_their_offset(): void {
		$this->assertSame( 1795507198250000, Sluice_Status::time( '2026-11-24T07:59:58.25Z' ) );
		$this->assertSame( 1795507198250000, Sluice_Status::time( '2026-11-24T09:59:58.250000+02:00' ) );
		$this->assertSame( 1795507198000000, Sluice_Status::time( '2026-11-24T02:29:58-05:30' ) );
		$this->assertSame( '2026-11-24T07:59:58.250000Z', Sluice_Status::rfc3339( 1795507198250000 ) );
		$this->assertSame( -500000, Sluice_Status::time( Sluice_Status::rfc3339( -500000 ) ) );
	}

	public function test_a_report_is_read_and_a_strange_one_is_refused(): void {
		$job    = array( 'job_id' => 'job_0123456789', 'type' => 'log', 'source' => 'pay', 'route' => 'all', 'state' => 'failed', 'attempts' => 2, 'next_run_at' => '2026-11-24T07:59:58Z', 'last_error' => "llm:x: <b>\n\u{202e}answered 500", 'updated_at' => '2026-11-24T07:59:58Z' );
		$read   = static fn( array $job, array $answers = array() ) => Sluice_Status::read( json_encode( array( 'schema_version' => 1, 'jobs' => array( $job ), 'answers' => $answers ) ) );
		$report = $read( $job, array( array( 'id' => 3, 'outcome' => 'done' ) ) );
		$this->assertSame( 'llm:x: <b> answered 500', $report->jobs[0]['last_error'] );
		$this->assertSame( array( array( 'id' => 3, 'outcome' => 'done' ) ), $report->answers );
		foreach ( array( 'job_id' => 'x', 'type' => '', 'source' => '<', 'route' => null, 'state' => 'odd', 'attempts' => -1, 'next_run_at' => 'soon', 'last_error' => 5, 'updated_at' => null ) as $field => $value ) {
			$this->assertSame( array( 'jobs' ), $read( array( $field => $value ) + $job ), $field );
		}
		$this->assertSame( array( 'answers' ), $read( $job, array( array( 'id' => 3, 'outcome' => 'odd' ) ) ) );
		$this->assertSame( array( 'schema_version' ), Sluice_Status::read( '{}' ) );
	}
}
