<?php
/** The running WordPress that a test speaks to, and its database. */
final class Site {

	public string $url;
	public string $dir;
	public string $uuid;
	public Signer $signer;
	private string $host;
	private mysqli $db;

	public static function get(): self {
		static $site = null;
		return $site ??= new self();
	}

	private function __construct() {
		foreach ( array( 'SLUICE_TEST_URL', 'SLUICE_TEST_DIR', 'SLUICE_TEST_SOCKET' ) as $name ) {
			if ( ! getenv( $name ) ) {
				throw new RuntimeException( "$name is not set; run scripts/test-wordpress" );
			}
		}
		$this->url    = getenv( 'SLUICE_TEST_URL' );
		$this->dir    = getenv( 'SLUICE_TEST_DIR' );
		$this->host   = parse_url( $this->url, PHP_URL_HOST ) . ':' . parse_url( $this->url, PHP_URL_PORT );
		$this->signer = new Signer( 'e2e' );
		$this->db     = new mysqli( 'localhost', 'root', '', 'wp_' . preg_replace( '/[^a-z0-9]/', '_', basename( $this->dir ) ), 0, getenv( 'SLUICE_TEST_SOCKET' ) );
		$this->db->set_charset( 'utf8mb4' );
		$this->uuid   = $this->value( "SELECT option_value FROM wp_options WHERE option_name = 'sluice_site_uuid'" );
		$this->wp( 'update_option( "sluice_keys", ' . var_export( Sluice_Token::keys( $this->signer->jwks() ), true ) . ' );' );
	}

	/** A site as after its installation, with the gateway's key. */
	public function reset(): void {
		foreach ( array( 'inbox', 'subjects', 'tokens', 'proposals', 'jobs', 'requests', 'outbox' ) as $table ) {
			$this->db->query( "TRUNCATE wp_sluice_$table" );
		}
		$this->wp( 'foreach ( array( "sluice_types", "sluice_jwks_url", "sluice_jwks_state", "sluice_pull_state", "sluice_seen", "sluice_refused", "sluice_gateway", "sluice_tenant" ) as $name ) delete_option( $name ); foreach ( get_posts( array( "post_type" => array( "post", "page" ), "post_status" => "any,trash", "numberposts" => -1 ) ) as $post ) wp_delete_post( $post->ID, true ); $GLOBALS["wpdb"]->query( "DELETE FROM wp_usermeta WHERE meta_key = \'sluice_notify\'" ); wp_cache_flush();' );
		foreach ( array( 'mails.jsonl', 'slow-mail', 'mail-begun', 'mail-go', 'slow-fields', 'fields-begun', 'fields-go', 'fault-insert', 'fault-requests', 'hijack', 'pull.json', 'short-nonces', 'calls.log' ) as $file ) {
			@unlink( $this->dir . '/' . $file );
		}
	}

	/** Runs code inside WordPress, in a process of its own. */
	public function wp( string $code, string $user = '' ): mixed {
		$process = proc_open( array_filter( array( PHP_BINARY, dirname( __DIR__ ) . '/site/eval.php', $this->dir . '/wp', $this->host, $user ) ), array( array( 'pipe', 'r' ), array( 'pipe', 'w' ), array( 'pipe', 'w' ) ), $pipes );
		fwrite( $pipes[0], $code );
		fclose( $pipes[0] );
		$out = stream_get_contents( $pipes[1] );
		$err = stream_get_contents( $pipes[2] );
		if ( 0 !== proc_close( $process ) ) {
			throw new RuntimeException( $err . $out );
		}
		return json_decode( $out, true );
	}

	public function rows( string $sql ): array {
		return $this->db->query( $sql )->fetch_all( MYSQLI_ASSOC );
	}

	public function value( string $sql ): ?string {
		$row = $this->db->query( $sql )->fetch_row();
		return $row ? $row[0] : null;
	}

	public function query( string $sql ): void {
		$this->db->query( $sql );
	}

	/** Changes something while others work, waiting for their locks; call what it returns to wait for it. */
	public function query_aside( string $sql ): callable {
		$this->db->query( $sql, MYSQLI_ASYNC );
		return fn() => $this->db->reap_async_query();
	}

	/** Posts that came from jobs. */
	public function posts(): array {
		return $this->rows( "SELECT p.* FROM wp_posts p JOIN wp_postmeta m ON m.post_id = p.ID AND m.meta_key = '_sluice_job_id' WHERE p.post_type <> 'revision' ORDER BY p.ID" );
	}

	public function mails(): array {
		$file = $this->dir . '/mails.jsonl';
		return is_file( $file ) ? array_map( static fn( string $line ) => json_decode( $line, true ), file( $file, FILE_IGNORE_NEW_LINES ) ) : array();
	}

	public function fault( string $what ): void {
		file_put_contents( $this->dir . '/fault-insert', $what );
	}

	/** Stops the site's web server, workers and all. */
	public function stop(): void {
		posix_kill( -(int) file_get_contents( $this->dir . '/server.pid' ), SIGTERM );
		$this->until( 'the site is down', fn() => ! @fsockopen( '127.0.0.1', (int) parse_url( $this->url, PHP_URL_PORT ) ) );
	}

	/** Starts it again. */
	public function start(): void {
		$port    = parse_url( $this->url, PHP_URL_PORT );
		$command = array( 'setsid', PHP_BINARY, '-d', 'opcache.enable_cli=1', '-S', "127.0.0.1:$port", '-t', $this->dir . '/wp', dirname( __DIR__ ) . '/site/router.php' );
		$log     = array( 'file', $this->dir . '/server.log', 'a' );
		$process = proc_open( $command, array( array( 'file', '/dev/null', 'r' ), $log, $log ), $pipes, null, array( 'PHP_CLI_SERVER_WORKERS' => '6' ) + getenv() );
		file_put_contents( $this->dir . '/server.pid', proc_get_status( $process )['pid'] );
		// A handle that is let go waits for its process.
		$GLOBALS['sluice_servers'][] = $process;
		$this->until( 'the site is up', fn() => false !== @fsockopen( '127.0.0.1', (int) $port ) );
	}

	/** Waits until something holds, and returns it. */
	public static function until( string $what, callable $holds, int $seconds = 60 ): mixed {
		for ( $end = microtime( true ) + $seconds; microtime( true ) < $end; usleep( 100000 ) ) {
			$value = $holds();
			if ( $value ) {
				return $value;
			}
		}
		throw new RuntimeException( "waited $seconds s in vain: $what" );
	}

	/**
	 * What browsers send in which these people are signed in: for each `headers`, and `nonces` by action.
	 * A person without a name is nobody: no cookie, and nonces as strangers get them.
	 */
	public function sessions( array $people, array $actions ): array {
		$code = <<<'PHP'
			$sessions = array();
			foreach ( $people as $login ) {
				$cookies = array();
				$user    = get_user_by( 'login', $login );
				if ( $user ) {
					$until   = time() + 3600;
					$token   = WP_Session_Tokens::get_instance( $user->ID )->create( $until );
					$cookies = array( AUTH_COOKIE => wp_generate_auth_cookie( $user->ID, $until, 'auth', $token ), LOGGED_IN_COOKIE => wp_generate_auth_cookie( $user->ID, $until, 'logged_in', $token ) );
				}
				$_COOKIE = $cookies;
				wp_set_current_user( $user ? $user->ID : 0 );
				$sessions[ $login ] = array(
					'headers' => $cookies ? array( 'Cookie: ' . http_build_query( $cookies, '', '; ' ) ) : array(),
					'nonces'  => array_combine( $actions, array_map( 'wp_create_nonce', $actions ) ),
				);
			}
			return $sessions;
			PHP;
		return $this->wp( '$people = ' . var_export( $people, true ) . '; $actions = ' . var_export( array_values( $actions ), true ) . '; ' . $code );
	}

	/** A form as a browser sends it. */
	public function form( string $path, array $fields, array $session ): array {
		return array( 'url' => $this->url . $path, 'type' => 'Content-Type: application/x-www-form-urlencoded', 'body' => http_build_query( $fields ), 'headers' => $session['headers'] );
	}

	/** The site may ask a gateway at this address from now on. */
	public function pull( string $url, string $token ): void {
		file_put_contents( $this->dir . '/pull.json', json_encode( array( 'url' => $url, 'token' => $token ) ) );
	}

	/** A signed request's parts. */
	public function signed( string $body, array $claims = array(), array $head = array(), string $path = 'callbacks' ): array {
		$token = $this->signer->sign( Signer::claims( $body, $this->uuid, time(), $claims ), $head );
		return array( 'path' => $path, 'body' => $body, 'headers' => array( 'X-Sluice-Authorization: Bearer ' . $token, 'Authorization: Bearer ' . $token ) );
	}

	/** Sends a callback. */
	public function callback( array $change = array() ): array {
		return $this->send( $this->signed( Signer::body( $change ) ) );
	}

	/** Sends a report. */
	public function report( array $jobs = array(), array $answers = array() ): array {
		$body = json_encode( array( 'schema_version' => 1, 'jobs' => $jobs, 'answers' => $answers ) );
		return $this->send( $this->signed( $body, array( 'scope' => 'status:write' ), array(), 'status' ) );
	}

	public function nudge(): array {
		return $this->send( $this->signed( '{"schema_version":1}', array( 'scope' => 'outbox:run' ), array(), 'outbox/run' ) );
	}

	public function send( array $request ): array {
		return $this->send_all( array( $request ) )[0];
	}

	/** Sends requests at once, or all but the first when the file `$after_the_first` is there; once all but the first are answered, `$meanwhile` is called. Each answer has `status`, `json`, `body`, `headers`. */
	public function send_all( array $requests, string $after_the_first = '', ?callable $meanwhile = null ): array {
		$multi   = curl_multi_init();
		$handles = array();
		$heads   = array();
		foreach ( array_values( $requests ) as $number => $request ) {
			$handle = curl_init( $request['url'] ?? $this->url . '/?rest_route=/sluice/v1/' . $request['path'] );
			curl_setopt_array(
				$handle,
				array(
					CURLOPT_CUSTOMREQUEST  => $request['method'] ?? 'POST',
					CURLOPT_POSTFIELDS     => $request['body'] ?? '',
					CURLOPT_HTTPHEADER     => array_merge( array( $request['type'] ?? 'Content-Type: application/json' ), $request['headers'] ?? array() ),
					CURLOPT_RETURNTRANSFER => true,
					CURLOPT_TIMEOUT        => 90,
					CURLOPT_HEADERFUNCTION => static function ( $handle, string $line ) use ( &$heads, $number ): int {
						$heads[ $number ] = ( $heads[ $number ] ?? '' ) . $line;
						return strlen( $line );
					},
				)
			);
			curl_multi_add_handle( $multi, $handle );
			$handles[] = $handle;
			// At most as long as a request may take.
			for ( $waited = 0; 0 === $number && '' !== $after_the_first && ! is_file( $this->dir . '/' . $after_the_first ) && $waited < 900; $waited++ ) {
				curl_multi_exec( $multi, $running );
				curl_multi_select( $multi, 0.1 );
			}
		}
		do {
			curl_multi_exec( $multi, $running );
			if ( null !== $meanwhile && $running <= 1 ) {
				$meanwhile();
				$meanwhile = null;
			}
			curl_multi_select( $multi, 0.2 );
		} while ( $running );
		$answers = array();
		foreach ( $handles as $number => $handle ) {
			$body      = (string) curl_multi_getcontent( $handle );
			$answers[] = array(
				'status'  => curl_getinfo( $handle, CURLINFO_RESPONSE_CODE ),
				'json'    => json_decode( $body, true ),
				'body'    => $body,
				'headers' => $heads[ $number ] ?? '',
			);
			curl_multi_remove_handle( $multi, $handle );
		}
		curl_multi_close( $multi );
		return $answers;
	}
}
