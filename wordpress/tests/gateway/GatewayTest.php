<?php
require_once dirname( __DIR__ ) . '/e2e/SiteTestCase.php';
require_once __DIR__ . '/Gateway.php';

/** The whole way: a vendor's signed delivery, the real gateway, a real WordPress. */
final class GatewayTest extends SiteTestCase {

	private static ?Gateway $gateway = null;

	protected function setUp(): void {
		parent::setUp();
		self::$gateway ??= new Gateway( $this->site );
		// The way an administrator takes: the address of the keys, and a button.
		$fetched = $this->site->wp( 'update_option( "sluice_jwks_url", "' . self::$gateway->public . '/.well-known/jwks.json" ); return Sluice_Keys::fetch();' );
		$this->assertTrue( $fetched );
		@unlink( $this->site->dir . '/calls.log' );
	}

	public static function tearDownAfterClass(): void {
		self::$gateway?->stop();
		self::$gateway = null;
		// Other tests sign with a key of their own.
		Site::get()->wp( 'update_option( "sluice_keys", ' . var_export( Sluice_Token::keys( Site::get()->signer->jwks() ), true ) . ' );' );
	}

	private function done( int $jobs ): void {
		Site::until( "$jobs jobs are done", fn() => $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_inbox WHERE done = 1' ) >= $jobs, 240 );
	}

	private function state( string $state, string $route = '%' ): string {
		return Site::until( "a job is $state", fn() => $this->site->value( "SELECT job_id FROM wp_sluice_jobs WHERE state = '$state' AND route LIKE '$route'" ) );
	}

	public function test_a_signed_delivery_becomes_a_draft_that_only_newer_events_change_until_a_person_does(): void {
		$gateway = self::$gateway;
		$order   = 'order-' . bin2hex( random_bytes( 4 ) );
		$first   = $gateway->deliver( 'order.created', $order, array( 'number' => 7, 'state' => 'new <b>' ), '2026-11-24T08:00:00Z', $order );
		$this->assertSame( 200, $first[0] );
		$this->done( 1 );
		$post = $this->site->posts()[0];
		$this->assertSame( array( 'draft', 'Order 7' ), array( $post['post_status'], $post['post_title'] ) );
		$this->assertStringContainsString( 'State: new &lt;b&gt;', $post['post_content'] );
		$again = $gateway->deliver( 'order.created', $order, array( 'number' => 7, 'state' => 'new <b>' ), '2026-11-24T08:00:00Z', $order );
		$this->assertTrue( $again[1]['duplicate'] );
		$gateway->deliver( 'order.paid', $order, array( 'number' => 7, 'state' => 'paid' ), '2026-11-24T09:00:00Z' );
		$this->done( 2 );
		$gateway->deliver( 'order.packed', $order, array( 'number' => 7, 'state' => 'packed' ), '2026-11-24T08:30:00Z' );
		$this->state( 'succeeded' );
		$this->assertCount( 1, $this->site->posts() );
		$this->assertStringContainsString( 'State: paid', $this->site->posts()[0]['post_content'] );
		$this->site->wp( "wp_update_post( array( 'ID' => {$post['ID']}, 'post_content' => 'Mine.' ) );" );
		$gateway->deliver( 'order.sent', $order, array( 'number' => 7, 'state' => 'sent' ), '2026-11-24T10:00:00Z' );
		Site::until( 'the update waits', fn() => $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_proposals' ) );
		$this->assertSame( 'Mine.', $this->site->posts()[0]['post_content'] );
	}

	public function test_what_dies_is_shown_with_the_public_port_closed_and_comes_back_when_an_editor_asks(): void {
		// The site has the keys and no address of the gateway: whatever is closed there, it does not matter.
		$this->site->wp( 'update_option( "sluice_jwks_url", "" ); update_option( "sluice_types", array( "note" => array( "mode" => "meta", "target" => 999999 ) ) );' );
		$this->assertSame( '0', $this->site->value( "SELECT COUNT(*) FROM wp_options WHERE option_value LIKE '%" . substr( self::$gateway->public, 7 ) . "%'" ) );
		self::$gateway->deliver( 'note.made', 'note-' . bin2hex( random_bytes( 4 ) ), array( 'number' => 1, 'state' => 'x' ), '2026-11-24T08:00:00Z' );
		$job    = $this->state( 'deadletter', 'note' );
		$editor = $this->site->sessions( array( 'editor' ), array() )['editor'];
		$screen = fn() => $this->site->send( array( 'method' => 'GET', 'url' => $this->site->url . '/wp-admin/admin.php?page=sluice', 'headers' => $editor['headers'] ) )['body'];
		$this->assertStringContainsString( 'data-sluice-job="' . $job . '" data-sluice-state="deadletter"', $screen() );
		$this->assertSame( 'This site refused this job for good. A person has to mend that; then it can be tried again.', $this->site->wp( "\$job = Sluice_Jobs::find( '$job' ); return Sluice_Words::error( \$job->last_error, \$job->state );" ) );
		$post = $this->site->wp( '$id = wp_insert_post( array( "post_title" => "Mine" ) ); update_option( "sluice_types", array( "note" => array( "mode" => "meta", "target" => $id ) ) ); return $id;' );
		$this->site->wp( "Sluice_Requests::ask( 'retry', '$job', 1 ); Sluice_Requests::ask( 'self_test', '', 1 );" );
		Site::until( 'the job is done', fn() => 'succeeded' === $this->site->value( "SELECT state FROM wp_sluice_jobs WHERE job_id = '$job'" ) );
		Site::until( 'both requests are answered', fn() => array( 'done', 'done' ) === array_column( $this->site->rows( 'SELECT state FROM wp_sluice_requests' ), 'state' ) );
		$this->assertSame( 'State: x', $this->site->wp( "return get_post_meta( $post, '_sluice_summary', true );" ) );
		$this->assertStringContainsString( 'data-sluice-job="' . $job . '" data-sluice-state="succeeded"', $screen() );
		// WordPress asks for its own updates when it likes.
		$called = (array) @file( $this->site->dir . '/calls.log', FILE_IGNORE_NEW_LINES );
		$this->assertSame( array(), preg_grep( '~^https?://api\.wordpress\.org/~', array_filter( $called ), PREG_GREP_INVERT ), 'the site calls nobody' );
	}

	public function test_the_gateways_nudge_sends_the_mails(): void {
		$this->site->wp( "update_user_meta( get_user_by( 'login', 'editor' )->ID, 'sluice_notify', 'each' );" );
		self::$gateway->deliver( 'order.created', 'mail-' . bin2hex( random_bytes( 4 ) ), array( 'number' => 3, 'state' => 'new' ), '2026-11-24T08:00:00Z' );
		$mails = Site::until( 'a mail', fn() => $this->site->mails(), 90 );
		$this->assertStringContainsString( 'New: Order 3', $mails[0]['message'] );
	}

	public function test_after_kills_lost_replies_strange_answers_and_a_site_that_is_down_each_job_has_one_effect(): void {
		// Few enough in the gate that the breaker stays closed: its cooldown is half a minute.
		$faults = getenv( 'SLUICE_LONG' ) ? "die\nlose\n502\npage\nlose\ndie\n502\n" : "die\nlose\n502\npage\n";
		file_put_contents( $this->site->dir . '/fault-requests', $faults );
		$orders = array_map( fn() => 'chaos-' . bin2hex( random_bytes( 4 ) ), range( 1, 12 ) );
		foreach ( array_slice( $orders, 0, 8 ) as $n => $order ) {
			self::$gateway->deliver( 'order.created', $order, array( 'number' => $n, 'state' => 'new' ), '2026-11-24T08:00:00Z' );
		}
		Site::until( 'the faults have happened', fn() => '' === file_get_contents( $this->site->dir . '/fault-requests' ), 120 );
		unlink( $this->site->dir . '/fault-requests' );
		$this->site->stop();
		foreach ( array_slice( $orders, 8 ) as $n => $order ) {
			self::$gateway->deliver( 'order.created', $order, array( 'number' => $n + 8, 'state' => 'new' ), '2026-11-24T08:00:00Z' );
		}
		// What is down for a minute is down for long enough; this is the gate, that is --long.
		sleep( getenv( 'SLUICE_LONG' ) ? 60 : 5 );
		$this->site->start();
		$this->done( 12 );
		$titles = array_column( $this->site->posts(), 'post_title' );
		sort( $titles );
		$expected = array_map( static fn( int $n ) => "Order $n", range( 0, 11 ) );
		sort( $expected );
		$this->assertSame( $expected, $titles );
		$this->assertSame( '12', $this->site->value( "SELECT COUNT(*) FROM wp_sluice_outbox WHERE action = 'hook'" ), 'one follow-up for each' );
	}

	public function test_in_mode_meta_the_gateway_names_a_post_and_its_title_and_content_stay(): void {
		$id     = $this->site->wp( 'return wp_insert_post( array( "post_title" => "Mine", "post_content" => "All mine.", "post_status" => "publish" ) );' );
		$before = $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" );
		$count  = $this->site->value( 'SELECT COUNT(*) FROM wp_posts' );
		self::$gateway->deliver( 'beside.made', 'beside-' . bin2hex( random_bytes( 4 ) ), array( 'number' => 9, 'state' => 'paid', 'post_id' => $id ), '2026-11-24T08:00:00Z' );
		$this->done( 1 );
		$this->assertSame( $before, $this->site->rows( "SELECT * FROM wp_posts WHERE ID = $id" ) );
		$this->assertSame( $count, $this->site->value( 'SELECT COUNT(*) FROM wp_posts' ), 'no other post, no revision' );
		$this->assertSame( array( 'Order 9', 'State: paid' ), $this->site->wp( "return array( get_post_meta( $id, '_sluice_title', true ), get_post_meta( $id, '_sluice_summary', true ) );" ) );
		self::$gateway->deliver( 'beside.made', 'beside-' . bin2hex( random_bytes( 4 ) ), array( 'number' => 9, 'state' => 'x', 'post_id' => "$id OR 1" ), '2026-11-24T08:00:00Z' );
		$job = $this->state( 'deadletter', 'beside' );
		$this->assertSame( '1', $this->site->value( 'SELECT COUNT(*) FROM wp_sluice_inbox' ), 'what is no id is not sent' );
		$this->assertStringStartsWith( 'The event does not name the post', $this->site->wp( "\$job = Sluice_Jobs::find( '$job' ); return Sluice_Words::error( \$job->last_error, \$job->state );" ) );
	}

	public function test_a_job_is_on_the_screen_while_it_waits_for_its_first_try(): void {
		$reason = array( 'reason' => 'a test' );
		$this->assertTrue( self::$gateway->api( 'POST', '/api/v1/lanes/acme/orders/pause', $reason )['ok'] );
		try {
			self::$gateway->deliver( 'order.created', 'wait-' . bin2hex( random_bytes( 4 ) ), array( 'number' => 5, 'state' => 'new' ), '2026-11-24T08:00:00Z' );
			$job = $this->state( 'pending' );
		} finally {
			self::$gateway->api( 'POST', '/api/v1/lanes/acme/orders/resume', $reason );
		}
		Site::until( 'the job is done', fn() => 'succeeded' === $this->site->value( "SELECT state FROM wp_sluice_jobs WHERE job_id = '$job'" ) );
	}

	public function test_an_editor_opens_what_was_too_long_for_the_site_by_an_address_that_stays(): void {
		$text = rtrim( str_repeat( 'paid twice, ', 400 ) );
		self::$gateway->deliver( 'order.created', 'long-' . bin2hex( random_bytes( 4 ) ), array( 'number' => 6, 'state' => $text ), '2026-11-24T08:00:00Z' );
		$this->done( 1 );
		$post = $this->site->posts()[0]['ID'];
		$this->assertStringNotContainsString( $text, $this->site->posts()[0]['post_content'] );
		$this->site->pull( self::$gateway->public . '/site/v1/acme', Gateway::SITE_TOKEN );
		$open   = fn( string $url ) => $this->site->send( array( 'method' => 'GET', 'url' => $url, 'headers' => $this->site->sessions( array( 'editor' ), array() )['editor']['headers'] ) );
		$panel  = $open( $this->site->url . "/wp-admin/post.php?post=$post&action=edit&classic-editor" )['body'];
		$this->assertSame( 1, preg_match( '/href="([^"]*sluice_file[^"]*)"/', $panel, $link ) );
		for ( $time = 1; $time <= 2; $time++ ) {
			$led = $open( html_entity_decode( $link[1] ) );
			$this->assertSame( 303, $led['status'], $led['body'] );
			$this->assertSame( 1, preg_match( '~^location: ' . Gateway::NAME . '(/artifacts/\S+)~mi', $led['headers'], $to ) );
			$this->assertStringContainsString( $text, file_get_contents( self::$gateway->public . $to[1] ) );
		}
	}

	public function test_a_site_that_the_gateway_does_not_reach_can_ask_it(): void {
		$this->site->wp( 'update_option( "sluice_types", array( "note" => array( "mode" => "meta", "target" => 999999 ) ) );' );
		self::$gateway->deliver( 'note.made', 'pull-' . bin2hex( random_bytes( 4 ) ), array( 'number' => 1, 'state' => 'x' ), '2026-11-24T08:00:00Z' );
		$job    = $this->state( 'deadletter', 'note' );
		$reason = array( 'reason' => 'a test' );
		self::$gateway->api( 'POST', '/api/v1/lanes/acme/orders/pause', $reason );
		// From here on all that the gateway sends is refused, and the site knows nothing yet.
		$keys = $this->site->wp( '$keys = get_option( "sluice_keys" ); update_option( "sluice_keys", array() ); update_option( "sluice_jwks_url", "" ); return $keys;' );
		$this->site->query( 'TRUNCATE wp_sluice_jobs' );
		$this->site->pull( self::$gateway->public . '/site/v1/acme', Gateway::SITE_TOKEN );
		// An editor's open page asks the site, and the site the gateway.
		$look  = function (): array {
			$this->site->wp( 'delete_option( "sluice_pull_state" );' );
			$session = $this->site->sessions( array( 'editor' ), array( 'wp_rest' ) )['editor'];
			$answer  = $this->site->send( array( 'method' => 'GET', 'path' => 'jobs', 'headers' => array( ...$session['headers'], 'X-WP-Nonce: ' . $session['nonces']['wp_rest'] ) ) );
			$this->assertSame( 200, $answer['status'], $answer['body'] );
			$this->assertStringNotContainsString( Gateway::SITE_TOKEN, $answer['body'] );
			return array_column( $answer['json']['jobs'], 'state', 'job_id' );
		};
		$this->assertSame( 'deadletter', $look()[ $job ] ?? '' );
		$this->assertSame( '', $this->site->wp( 'return Sluice_Pull::state()["error"];' ) );
		$post = $this->site->wp( '$id = wp_insert_post( array( "post_title" => "Mine" ) ); update_option( "sluice_types", array( "note" => array( "mode" => "meta", "target" => $id ) ) ); return $id;' );
		$this->site->wp( "Sluice_Requests::ask( 'retry', '$job', 1 );" );
		Site::until( 'the retry shows', fn() => 'deadletter' !== ( $look()[ $job ] ?? 'deadletter' ) );
		$this->assertSame( array( 'done' ), array_column( $this->site->rows( 'SELECT state FROM wp_sluice_requests' ), 'state' ) );
		// Where no keys were entered, they come the same way; then the result arrives.
		$this->site->wp( 'Sluice_Plugin::sweep();' );
		$this->assertSame( $keys, $this->site->wp( 'return get_option( "sluice_keys" );' ) );
		self::$gateway->api( 'POST', '/api/v1/lanes/acme/orders/resume', $reason );
		$this->done( 1 );
		$this->assertSame( 'State: x', $this->site->wp( "return get_post_meta( $post, '_sluice_summary', true );" ) );
		$called = file( $this->site->dir . '/calls.log', FILE_IGNORE_NEW_LINES );
		$this->assertSame( array(), preg_grep( '#^' . preg_quote( self::$gateway->public, '#' ) . '/#', $called, PREG_GREP_INVERT ), 'the site asks its gateway and nobody else' );
	}
}
