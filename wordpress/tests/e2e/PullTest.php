<?php
require_once __DIR__ . '/SiteTestCase.php';

/** A site that may ask its gateway. */
final class PullTest extends SiteTestCase {

	private const TOKEN = 'a-token-of-the-test-site-of-40-bytes-len';

	public function test_a_site_asks_only_where_wp_config_says_so_and_only_by_tls(): void {
		$on = fn( string $url ) => $this->site->wp( 'define( "SLUICE_PULL_URL", "' . $url . '" ); define( "SLUICE_SITE_TOKEN", "x" ); return Sluice_Pull::is_on();' );
		$this->assertFalse( $this->site->wp( 'return Sluice_Pull::is_on();' ) );
		$this->assertFalse( $this->site->wp( 'define( "SLUICE_PULL_URL", "https://gateway.example/site/v1/acme" ); return Sluice_Pull::is_on();' ), 'no token' );
		foreach ( array( 'https://gateway.example/site/v1/acme', 'https://gateway.example/base/site/v1/acme/', 'http://127.0.0.1:8080/site/v1/acme' ) as $url ) {
			$this->assertTrue( $on( $url ), $url );
		}
		foreach ( array( '', 'http://gateway.example/site/v1/acme', 'https://user:pw@gateway.example/site/v1/acme', 'https://gateway.example/site/v1/', 'https://gateway.example/site/v1/acme?x=1', 'https://gateway.example/?/site/v1/acme', 'https://gateway.example/site/v2/acme', 'file:///site/v1/acme' ) as $url ) {
			$this->assertFalse( $on( $url ), $url );
		}
	}

	public function test_strange_answers_change_nothing_are_told_and_are_not_asked_for_again_at_once(): void {
		$job  = '{"job_id":"job_0123456789","type":"x","source":"x","route":"x","state":"%s","attempts":1,"updated_at":"2026-11-24T08:00:00Z"}';
		$said = static fn( string $state ) => '{"ok":true,"schema_version":1,"jobs":[' . sprintf( $job, $state ) . ']}';
		foreach ( array(
			'does not accept SLUICE_SITE_TOKEN' => array( 401, '{"ok":false}' ),
			'no answer that makes sense'        => array( 200, '<html>Are you human?</html>' ),
			'answer that makes sense'           => array( 200, $said( 'dancing' ) ),
			'that makes sense'                  => array( 302, $said( 'deadletter' ) ),
			'makes sense'                       => array( 500, $said( 'deadletter' ) ),
			'could not be reached'              => array( 0, '' ),
		) as $words => list( $status, $body ) ) {
			$this->site->pull( 'https://gateway.example/site/v1/acme', self::TOKEN );
			$code = '$asked = array(); add_filter( "pre_http_request", function ( $no, $arguments, $url ) use ( &$asked ) { $asked[] = array( $url, $arguments["headers"]["Authorization"], $arguments["redirection"] ); return ' . ( $status ? 'array( "headers" => array(), "response" => array( "code" => ' . $status . ' ), "body" => ' . var_export( $body, true ) . ' )' : 'new WP_Error( "x", "x" )' ) . '; }, 99, 3 ); delete_option( "sluice_pull_state" ); Sluice_Pull::run(); Sluice_Pull::run(); return array( $asked, Sluice_Pull::state()["error"], Sluice_Pull::heard_at() );';
			list( $asked, $error, $heard ) = $this->site->wp( $code );
			$this->assertSame( array( array( 'https://gateway.example/site/v1/acme/jobs', 'Bearer ' . self::TOKEN, 0 ) ), $asked, $words );
			$this->assertStringContainsString( $words, $error );
			$this->assertSame( array( 0, '0' ), array( $heard, $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_jobs' ) ) );
		}
	}

	public function test_the_token_is_on_no_page_and_in_no_option(): void {
		$this->site->pull( 'https://gateway.example/site/v1/acme', self::TOKEN );
		$admin = $this->site->sessions( array( 'admin' ), array( 'wp_rest' ) )['admin'];
		foreach ( array( 'options-general.php?page=sluice-settings', 'admin.php?page=sluice', 'site-health.php?tab=debug', '' ) as $page ) {
			$answer = $this->site->send( array( 'method' => 'GET', 'url' => $this->site->url . '/wp-admin/' . $page, 'headers' => $admin['headers'] ) );
			$this->assertSame( 200, $answer['status'], $page );
			$this->assertStringNotContainsString( self::TOKEN, $answer['body'], $page );
		}
		$this->site->send( array( 'method' => 'GET', 'path' => 'jobs', 'headers' => array( ...$admin['headers'], 'X-WP-Nonce: ' . $admin['nonces']['wp_rest'] ) ) );
		$this->assertStringContainsString( 'could not be reached', $this->site->value( "SELECT option_value FROM wp_options WHERE option_name = 'sluice_pull_state'" ) );
		$this->assertSame( '0', $this->site->value( "SELECT COUNT(*) FROM wp_options WHERE option_value LIKE '%" . self::TOKEN . "%'" ) );
	}

	public function test_an_editor_is_led_to_a_fresh_link_by_an_address_that_stays_and_nobody_else_is(): void {
		$id     = 'art_0193a7d4c1e87cc0a3f0c5d6e7f80912';
		$gone   = 'art_0193a7d4c1e87cc0a3f0c5d6e7f80913';
		$fresh  = 'https://files.example/a?x=1&signature=00';
		$asked  = tempnam( sys_get_temp_dir(), 'asked' );
		$router = tempnam( sys_get_temp_dir(), 'router' );
		file_put_contents( $router, '<?php file_put_contents( ' . var_export( $asked, true ) . ', $_SERVER["REQUEST_URI"] . " " . ( $_SERVER["HTTP_AUTHORIZATION"] ?? "" ) . "\n", FILE_APPEND ); if ( $_SERVER["REQUEST_URI"] !== "/site/v1/acme/artifacts?id=' . $id . '" ) { http_response_code( 404 ); echo "{}"; return; } echo json_encode( array( "ok" => true, "schema_version" => 1, "url" => ' . var_export( $fresh, true ) . ', "expires_at" => "2026-11-24T08:00:00Z" ) );' );
		$free = stream_socket_server( 'tcp://127.0.0.1:0' );
		$port = (int) substr( strrchr( stream_socket_get_name( $free, false ), ':' ), 1 );
		fclose( $free );
		$gateway = proc_open( array( PHP_BINARY, '-S', "127.0.0.1:$port", $router ), array( array( 'file', '/dev/null', 'r' ), array( 'file', '/dev/null', 'w' ), array( 'file', '/dev/null', 'w' ) ), $pipes );
		try {
			while ( ! @fsockopen( '127.0.0.1', $port ) ) {
				$this->assertTrue( proc_get_status( $gateway )['running'] );
			}
			$artifact = static fn( string $id ) => array( 'type' => 'transcript', 'id' => $id, 'url' => 'https://files.example/old', 'expires_at' => '2026-11-24T07:00:00Z' );
			$post     = $this->site->callback( array( 'artifacts' => array( $artifact( $id ), $artifact( $gone ) ) ) )['json']['post_id'];
			$url      = fn( string $id ) => '/wp-admin/admin-post.php?action=sluice_file&post=' . $post . '&file=' . $id . '&_wpnonce=';
			$people   = array( 'author', 'editor' );
			$sessions = $this->site->sessions( $people, array( "sluice_file_$post$id", "sluice_file_$post$gone", "sluice_file_{$post}art_00000000000000000000000000000000" ) );
			$get      = fn( string $who, string $id, string $nonce ) => $this->site->send( array( 'method' => 'GET', 'url' => $this->site->url . $url( $id ) . $nonce, 'headers' => $sessions[ $who ]['headers'] ) );
			$nonce    = fn( string $who, string $id ) => $sessions[ $who ]['nonces'][ "sluice_file_$post$id" ];

			$panel = fn() => $this->site->send( array( 'method' => 'GET', 'url' => $this->site->url . "/wp-admin/post.php?post=$post&action=edit&classic-editor", 'headers' => $sessions['editor']['headers'] ) )['body'];
			$this->assertStringNotContainsString( 'sluice_file', $panel(), 'a site that may not ask has no such address' );
			$this->site->pull( "http://127.0.0.1:$port/site/v1/acme", self::TOKEN );
			$this->assertStringContainsString( 'action=sluice_file', $panel() );

			$led = $get( 'editor', $id, $nonce( 'editor', $id ) );
			$this->assertSame( 303, $led['status'] );
			$this->assertStringContainsStringIgnoringCase( "\r\nlocation: $fresh\r\n", $led['headers'] );
			$this->assertSame( 404, $get( 'editor', $gone, $nonce( 'editor', $gone ) )['status'], 'no longer kept' );
			$before = file_get_contents( $asked );
			$this->assertStringContainsString( 'Bearer ' . self::TOKEN, $before );
			$this->assertSame( 403, $get( 'author', $id, $nonce( 'author', $id ) )['status'], 'a post of others' );
			$this->assertSame( 403, $get( 'editor', $id, 'wrong' )['status'] );
			$this->assertSame( 403, $get( 'editor', $gone, $nonce( 'editor', $id ) )['status'], 'a nonce is good for one file' );
			$this->assertSame( 403, $get( 'editor', 'art_00000000000000000000000000000000', $nonce( 'editor', 'art_00000000000000000000000000000000' ) )['status'], 'a file of no post' );
			$stranger = $this->site->send( array( 'method' => 'GET', 'url' => $this->site->url . $url( $id ) . $nonce( 'editor', $id ) ) );
			$this->assertNotSame( 303, $stranger['status'] );
			$this->assertSame( $before, file_get_contents( $asked ), 'the gateway is asked for nobody else' );
		} finally {
			proc_terminate( $gateway, 9 );
			proc_close( $gateway );
			array_map( 'unlink', array( $asked, $router ) );
		}
	}
}
