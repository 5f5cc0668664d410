<?php
/** A real gateway on loopback that publishes to the site. */
final class Gateway {

	private const SECRET = 'a-test-secret-of-32-bytes-length';
	public const SITE_TOKEN = 'a-token-of-the-test-site-of-40-bytes-len';

	/** What it is called by others, as behind a proxy: sites take no links without TLS. */
	public const NAME = 'https://hooks.example.com';

	public string $public;
	private string $dir;
	private $process;

	/** Starts SLUICE_BIN with a tenant `acme` whose source `orders` publishes. */
	public function __construct( private Site $site ) {
		$this->dir = $site->dir . '/gateway';
		@mkdir( $this->dir . '/tenants', 0700, true );
		$ports        = array( self::free_port(), self::free_port() );
		$this->public = "http://127.0.0.1:$ports[0]";
		file_put_contents( "$this->dir/sluice.toml", "[edge]\nlisten = '127.0.0.1:$ports[0]'\npublic_url = '" . self::NAME . "'\n[admin]\nlisten = '127.0.0.1:$ports[1]'\n[outbound]\nallow_private = ['127.0.0.0/8']\n" );
		$this->secret( 'orders', self::SECRET );
		$this->secret( 'wordpress', self::ed25519_pem() );
		$this->secret( 'site-token', self::SITE_TOKEN );
		$route = static fn( string $name, string $type ) => "[[sources.orders.routes]]\nname = '$name'\nevent_types = ['$name.*']\naction = 'wordpress_publish'\njob_type = '$type'\ntitle = 'Order {{ data.number }}'\nsummary = 'State: {{ data.state }}'\n";
		file_put_contents( "$this->dir/tenants/acme.toml", "[wordpress]\nsite = '{$site->url}'\nsite_uuid = '{$site->uuid}'\nsigning_key = 'file:wordpress'\nsite_token = 'file:site-token'\n[sources.orders]\nvendor = 'generic'\nsecrets = ['file:orders']\n" . $route( 'order', 'order' ) . $route( 'note', 'note' ) . $route( 'beside', 'order' ) . "mode = 'meta'\ntarget_post_id = '{{ data.post_id }}'\n" );
		$this->start();
	}

	public function start(): void {
		$log           = array( 'file', $this->dir . '/log', 'a' );
		$this->process = proc_open( array( getenv( 'SLUICE_BIN' ), 'serve', '--config', "$this->dir/sluice.toml" ), array( array( 'file', '/dev/null', 'r' ), $log, $log ), $pipes );
		try {
			Site::until( 'the gateway is up', fn() => @file_get_contents( $this->public . '/.well-known/jwks.json' ), 30 );
		} catch ( RuntimeException $error ) {
			throw new RuntimeException( $error->getMessage() . "\n" . file_get_contents( $this->dir . '/log' ) );
		}
	}

	/** Ends it, by a signal. */
	public function stop( int $signal = SIGTERM ): void {
		proc_terminate( $this->process, $signal );
		proc_close( $this->process );
	}

	/** Delivers an event as its vendor does; returns the status and the answer. */
	public function deliver( string $type, string $subject, array $data, string $at, string $id = '' ): array {
		$body   = json_encode( array( 'event_type' => $type, 'subject_id' => $subject, 'occurred_at' => $at, 'data' => $data ) );
		$now    = (string) time();
		$handle = curl_init( $this->public . '/webhooks/acme/orders' );
		curl_setopt_array(
			$handle,
			array(
				CURLOPT_POSTFIELDS     => $body,
				CURLOPT_RETURNTRANSFER => true,
				CURLOPT_HTTPHEADER     => array( 'Content-Type: application/json', "X-Timestamp: $now", 'X-Event-Id: ' . ( '' === $id ? bin2hex( random_bytes( 8 ) ) : $id ), 'X-Signature: ' . hash_hmac( 'sha256', "$now.$body", self::SECRET ) ),
			)
		);
		for ( $left = 5; $left > 0; $left-- ) {
			$answer = json_decode( (string) curl_exec( $handle ), true );
			$status = curl_getinfo( $handle, CURLINFO_RESPONSE_CODE );
			// A busy machine tells a sender to come again.
			if ( 503 !== $status ) {
				break;
			}
			sleep( 1 );
		}
		return array( $status, $answer );
	}

	/** Asks the admin listener, as an operator does. */
	public function api( string $method, string $path, array $body ): array {
		$runtime = json_decode( file_get_contents( "$this->dir/runtime.json" ), true );
		$handle  = curl_init( $runtime['admin'] . $path );
		curl_setopt_array(
			$handle,
			array(
				CURLOPT_CUSTOMREQUEST  => $method,
				CURLOPT_POSTFIELDS     => json_encode( $body ),
				CURLOPT_RETURNTRANSFER => true,
				CURLOPT_HTTPHEADER     => array( 'Authorization: Bearer ' . $runtime['token'] ),
			)
		);
		return json_decode( (string) curl_exec( $handle ), true );
	}

	private function secret( string $name, string $value ): void {
		touch( "$this->dir/$name" );
		chmod( "$this->dir/$name", 0600 );
		file_put_contents( "$this->dir/$name", $value );
	}

	/** A fresh private key in PKCS#8 (RFC 8410): the fixed head and the seed. */
	private static function ed25519_pem(): string {
		$der = hex2bin( '302e020100300506032b657004220420' ) . random_bytes( 32 );
		return "-----BEGIN PRIVATE KEY-----\n" . base64_encode( $der ) . "\n-----END PRIVATE KEY-----\n";
	}

	private static function free_port(): int {
		$socket = stream_socket_server( 'tcp://127.0.0.1:0' );
		return (int) substr( strrchr( stream_socket_get_name( $socket, false ), ':' ), 1 );
	}
}
