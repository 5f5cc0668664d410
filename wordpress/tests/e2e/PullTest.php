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

	private const FILE = 'art_0193a7d4c1e87cc0a3f0c5d6e7f80912';
	private const GONE = 'art_0193a7d4c1e87cc0a3f0c5d6e7f80913';

	private $gateway     = null;
	private string $desk = '';

	/** Starts a gateway that has one file, a new link to it for each question, and 500 for all when `broken` is there. */
	private function start_gateway(): string {
		$this->desk = sys_get_temp_dir() . '/desk-' . bin2hex( random_bytes( 6 ) );
		mkdir( $this->desk );
		$code = <<<'PHP'
			<?php
			file_put_contents( __DIR__ . '/asked', $_SERVER['REQUEST_URI'] . ' ' . ( $_SERVER['HTTP_AUTHORIZATION'] ?? '' ) . "\n", FILE_APPEND );
			$found = '/site/v1/acme/artifacts?id=%ID%' === $_SERVER['REQUEST_URI'];
			http_response_code( is_file( __DIR__ . '/broken' ) ? 500 : ( $found ? 200 : 404 ) );
			echo json_encode( array( 'ok' => true, 'schema_version' => 1, 'url' => 'https://files.example/a?x=1&signature=' . count( file( __DIR__ . '/asked' ) ), 'expires_at' => '2026-11-24T08:00:00Z' ) );
			PHP;
		file_put_contents( $this->desk . '/router.php', str_replace( '%ID%', self::FILE, $code ) );
		touch( $this->desk . '/asked' );
		$free = stream_socket_server( 'tcp://127.0.0.1:0' );
		$port = (int) substr( strrchr( stream_socket_get_name( $free, false ), ':' ), 1 );
		fclose( $free );
		$null          = array( 'file', '/dev/null', 'w' );
		$this->gateway = proc_open( array( PHP_BINARY, '-S', "127.0.0.1:$port", $this->desk . '/router.php' ), array( array( 'file', '/dev/null', 'r' ), $null, $null ), $pipes );
		Site::until( 'the gateway is up', static fn() => @fsockopen( '127.0.0.1', $port ) );
		return "http://127.0.0.1:$port/site/v1/acme";
	}

	private function stop_gateway(): void {
		if ( $this->gateway ) {
			proc_terminate( $this->gateway, 9 );
			proc_close( $this->gateway );
			$this->gateway = null;
		}
	}

	protected function tearDown(): void {
		$this->stop_gateway();
		if ( '' !== $this->desk ) {
			array_map( 'unlink', glob( $this->desk . '/*' ) );
			rmdir( $this->desk );
			$this->desk = '';
		}
		parent::tearDown();
	}

	/** What the gateway was asked. */
	private function asked(): array {
		return file( $this->desk . '/asked', FILE_IGNORE_NEW_LINES );
	}

	/** A post with both files. */
	private function post(): int {
		$artifact = static fn( string $id ) => array( 'type' => 'transcript', 'id' => $id, 'url' => 'https://files.example/old', 'expires_at' => '2026-11-24T07:00:00Z' );
		return $this->site->callback( array( 'artifacts' => array( $artifact( self::FILE ), $artifact( self::GONE ) ) ) )['json']['post_id'];
	}

	private function link( int|string $post, string $id = self::FILE ): string {
		return $this->site->url . "/wp-admin/admin.php?action=sluice_file&post=$post&file=$id";
	}

	private function open( string $url, array $session = array( 'headers' => array() ) ): array {
		return $this->site->send( array( 'method' => 'GET', 'url' => $url, 'headers' => $session['headers'] ) );
	}

	/** The session was led to a link that nobody was led to before. */
	private function assertLed( array $answer, string $case ): void {
		$this->assertSame( 303, $answer['status'], $case );
		foreach ( array( 'Location: https://files.example/a?x=1&signature=' . count( $this->asked() ), 'Cache-Control: no-store', 'Referrer-Policy: no-referrer' ) as $header ) {
			$this->assertStringContainsStringIgnoringCase( "\r\n$header\r\n", $answer['headers'], $case );
		}
	}

	public function test_the_address_of_a_file_stays_and_leads_everybody_who_may_edit_the_post_to_a_fresh_link(): void {
		$post     = $this->post();
		$sessions = $this->site->sessions( array( 'editor', 'admin', 'author' ), array( 'wp_rest' ) );
		$editor   = $sessions['editor'];
		$panel    = fn() => $this->open( $this->site->url . "/wp-admin/post.php?post=$post&action=edit&classic-editor", $editor )['body'];
		$this->assertStringNotContainsString( 'sluice_file', $panel(), 'a site that may not ask has no such address' );
		$this->site->pull( $this->start_gateway(), self::TOKEN );
		$this->assertSame( 2, preg_match_all( '/href="([^"]*sluice_file[^"]*)"/', $panel(), $links ) );
		$link = html_entity_decode( $links[1][0] );
		$this->assertSame( $this->link( $post ), $link, 'nothing of who was shown it, or when' );

		$this->assertLed( $this->open( $link, $editor ), 'an editor' );
		$this->assertLed( $this->open( $link, $editor ), 'a second time' );
		$this->assertSame( array_fill( 0, 2, '/site/v1/acme/artifacts?id=' . self::FILE . ' Bearer ' . self::TOKEN ), $this->asked() );
		$this->assertLed( $this->open( $link, $this->site->sessions( array( 'editor' ), array() )['editor'] ), 'signed in anew' );
		$this->assertLed( $this->open( $link, $sessions['admin'] ), 'a colleague' );
		$jobs = fn() => $this->site->send( array( 'method' => 'GET', 'path' => 'jobs', 'headers' => array( ...$editor['headers'], 'X-WP-Nonce: ' . $editor['nonces']['wp_rest'] ) ) );
		$this->assertSame( 200, $jobs()['status'] );
		touch( $this->site->dir . '/short-nonces' );
		$this->assertSame( 403, $jobs()['status'], 'nonces of then have expired' );
		$this->assertLed( $this->open( $link, $editor ), 'when they have' );
		$this->assertSame( 403, $this->open( $link, $sessions['author'] )['status'] );
		$this->site->query( "UPDATE wp_posts SET post_author = (SELECT ID FROM wp_users WHERE user_login = 'author') WHERE ID = $post" );
		$this->assertLed( $this->open( $link, $sessions['author'] ), 'the author of the post' );
		$this->assertSame( '0', $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_requests' ) );
	}

	public function test_a_file_that_is_not_there_and_a_gateway_that_does_not_answer_are_told_apart_and_neither_is_stored(): void {
		$post   = $this->post();
		$other  = $this->site->callback()['json']['post_id'];
		$editor = $this->site->sessions( array( 'editor' ), array() )['editor'];
		$get    = function ( string $url, int $status ) use ( $editor ): array {
			$answer = $this->open( $url, $editor );
			$this->assertSame( $status, $answer['status'], $url );
			$this->assertStringContainsStringIgnoringCase( "\r\nCache-Control: no-store\r\n", $answer['headers'], $url );
			return $answer;
		};
		$this->assertStringContainsString( 'There is no such file here.', $get( $this->link( $post ), 404 )['body'], 'this site may not ask' );
		$this->site->pull( $this->start_gateway(), self::TOKEN );
		$none = array();
		foreach ( array( 'art_00000000000000000000000000000000', strtoupper( self::FILE ), self::FILE . '%0A', '%20' . self::FILE, self::FILE . '%26x=1', substr( self::FILE, 0, -1 ), '../jobs', '' ) as $id ) {
			$none[] = $get( $this->link( $post, $id ), 404 )['body'];
		}
		$none[] = $get( $this->site->url . "/wp-admin/admin.php?action=sluice_file&post=$post&file[]=" . self::FILE, 404 )['body'];
		$none[] = $get( $this->link( $other ), 404 )['body'];
		$this->assertSame( array(), $this->asked(), 'the gateway is not asked about what the post has not' );
		$none[] = $get( $this->link( $post, self::GONE ), 404 )['body'];
		$this->assertCount( 1, $this->asked() );
		$this->assertSame( array( $none[0] ), array_values( array_unique( $none ) ) );
		foreach ( array( '0', '', '-' . $post, $post . 'x', '0' . $post, '%20' . $post, '99999999', '99999999999999999999' ) as $number ) {
			$get( $this->link( $number ), 403 );
		}
		touch( $this->desk . '/broken' );
		$away = $get( $this->link( $post ), 503 )['body'];
		$this->assertStringContainsString( 'no link to this file just now', $away );
		$this->stop_gateway();
		$this->assertSame( $away, $get( $this->link( $post ), 503 )['body'] );
	}

	public function test_who_may_not_edit_the_post_hears_the_same_of_all_files_and_the_gateway_is_not_asked(): void {
		$post = $this->post();
		$this->site->pull( $this->start_gateway(), self::TOKEN );
		foreach ( $this->site->sessions( array( 'subscriber', 'author' ), array() ) as $person => $session ) {
			$heard = array();
			foreach ( array( $this->link( $post ), $this->link( $post, self::GONE ), $this->link( $post, 'art_00000000000000000000000000000000' ), $this->link( $post, 'x' ), $this->link( 99999999 ), $this->link( 'x' ) ) as $url ) {
				$answer  = $this->open( $url, $session );
				$heard[] = array( $answer['status'], $answer['body'] );
			}
			$this->assertSame( 403, $heard[0][0], $person );
			$this->assertSame( array_fill( 0, 6, $heard[0] ), $heard, $person );
		}
		$this->assertSame( array(), $this->asked() );
	}

	public function test_a_visitor_is_sent_to_the_login_page_and_arrives_after_signing_in(): void {
		$link = $this->link( $this->post() );
		$this->site->pull( $this->start_gateway(), self::TOKEN );
		$door = $this->open( $link );
		$this->assertSame( 302, $door['status'] );
		$this->assertSame( '', $door['body'] );
		$this->assertSame( 1, preg_match( '~^location: (\S*/wp-login\.php\?\S*)~mi', $door['headers'], $to ) );
		parse_str( parse_url( $to[1], PHP_URL_QUERY ), $query );
		$this->assertSame( $link, $query['redirect_to'] );
		$page = $this->open( $to[1] );
		$this->assertSame( array( 200, 1 ), array( $page['status'], preg_match( '/name="redirect_to" value="([^"]*)"/', $page['body'], $back ) ) );
		$this->assertSame( $link, html_entity_decode( $back[1] ) );
		$this->assertSame( array(), $this->asked(), 'not for a stranger' );
		foreach ( array( 'editor', 'subscriber' ) as $login ) {
			$form   = array( 'log' => $login, 'pwd' => 'password', 'redirect_to' => html_entity_decode( $back[1] ), 'testcookie' => '1' );
			$signed = $this->site->send( $this->site->form( '/wp-login.php', $form, array( 'headers' => array( 'Cookie: wordpress_test_cookie=WP%20Cookie%20check' ) ) ) );
			$this->assertSame( 302, $signed['status'], $login );
			$this->assertStringContainsStringIgnoringCase( "\r\nLocation: $link\r\n", $signed['headers'] );
			preg_match_all( '/^set-cookie: (wordpress_[^;]+)/mi', $signed['headers'], $cookies );
			$answer = $this->open( $link, array( 'headers' => array( 'Cookie: ' . implode( '; ', array_unique( $cookies[1] ) ) ) ) );
			if ( 'editor' === $login ) {
				$this->assertLed( $answer, $login );
			} else {
				$this->assertSame( 403, $answer['status'], $login );
			}
		}
		$this->assertCount( 1, $this->asked() );
	}
}
