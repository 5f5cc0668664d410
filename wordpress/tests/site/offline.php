<?php
/**
 * Plugin Name: Test site: nothing leaves this machine
 * Mails go to a file, calls go to loopback or nowhere. Misbehaves when a file of the test says so.
 */

// What wp-config.php says on a site that may ask its gateway.
if ( is_file( SLUICE_TEST_DIR . '/pull.json' ) ) {
	$pull = json_decode( file_get_contents( SLUICE_TEST_DIR . '/pull.json' ), true );
	define( 'SLUICE_PULL_URL', $pull['url'] );
	define( 'SLUICE_SITE_TOKEN', $pull['token'] );
	unset( $pull );
}
add_filter(
	'pre_http_request',
	static function ( $answer, $arguments, $url ) {
		$host = parse_url( $url, PHP_URL_HOST );
		file_put_contents( SLUICE_TEST_DIR . '/calls.log', $url . "\n", FILE_APPEND | LOCK_EX );
		return in_array( $host, array( '127.0.0.1', 'localhost' ), true ) ? $answer : new WP_Error( 'offline', 'offline' );
	},
	10,
	3
);
add_filter( 'http_request_host_is_external', '__return_true' );
add_filter( 'http_allowed_safe_ports', static fn( $ports ) => array_merge( $ports, range( 1024, 65535 ) ) );
/** Waits until a test makes the file, at most a minute. */
function sluice_test_wait( string $file ): void {
	for ( $waited = 0; ! is_file( SLUICE_TEST_DIR . '/' . $file ) && $waited < 6000; $waited++ ) {
		usleep( 10000 );
		clearstatcache();
	}
}
add_filter(
	'pre_wp_mail',
	static function ( $done, $mail ) {
		if ( is_file( SLUICE_TEST_DIR . '/slow-mail' ) ) {
			touch( SLUICE_TEST_DIR . '/mail-begun' );
			sluice_test_wait( 'mail-go' );
		}
		file_put_contents( SLUICE_TEST_DIR . '/mails.jsonl', wp_json_encode( $mail ) . "\n", FILE_APPEND | LOCK_EX );
		return true;
	},
	10,
	2
);
add_action(
	'wp_insert_post',
	static function ( $post_id ) {
		$fault = SLUICE_TEST_DIR . '/fault-insert';
		$what  = is_file( $fault ) ? trim( file_get_contents( $fault ) ) : '';
		if ( 'die' === $what ) {
			unlink( $fault );
			posix_kill( getmypid(), 9 );
		} elseif ( 'throw' === $what ) {
			unlink( $fault );
			throw new RuntimeException( 'a plugin that fails' );
		} elseif ( 'deadlock' === $what ) {
			// What a deadlock or a lost connection leaves behind: the transaction is gone, the request goes on.
			unlink( $fault );
			$GLOBALS['wpdb']->query( 'ROLLBACK' );
		} elseif ( str_starts_with( $what, 'wait' ) ) {
			usleep( (int) substr( $what, 5 ) * 1000 );
		}
	},
	10,
	1
);
// A plugin that thinks for a while between reading a post and writing it.
add_filter(
	'sluice_post_fields',
	static function ( $fields ) {
		if ( is_file( SLUICE_TEST_DIR . '/slow-fields' ) ) {
			touch( SLUICE_TEST_DIR . '/fields-begun' );
			sluice_test_wait( 'fields-go' );
		}
		return $fields;
	}
);
// A plugin that takes every Bearer token for its own, as some do.
add_filter(
	'rest_pre_dispatch',
	static function ( $result ) {
		$taken = isset( $_SERVER['HTTP_AUTHORIZATION'] ) && is_file( SLUICE_TEST_DIR . '/hijack' );
		return $taken ? new WP_Error( 'jwt_auth_invalid_token', 'Wrong number of segments', array( 'status' => 403 ) ) : $result;
	}
);

// Time goes by: what nonces there are has expired.
if ( is_file( SLUICE_TEST_DIR . '/short-nonces' ) ) {
	add_filter( 'nonce_life', static fn() => 2 );
}

// Faults of requests of the gateway: each takes the first line of a file.
add_filter(
	'rest_pre_dispatch',
	static function ( $result, $server, $request ) {
		$file = SLUICE_TEST_DIR . '/fault-requests';
		if ( '/sluice/v1/callbacks' !== $request->get_route() || ! is_file( $file ) ) {
			return $result;
		}
		$open = fopen( $file, 'c+' );
		flock( $open, LOCK_EX );
		$lines = array_filter( explode( "\n", stream_get_contents( $open ) ) );
		$fault = array_shift( $lines );
		ftruncate( $open, 0 );
		rewind( $open );
		fwrite( $open, implode( "\n", $lines ) );
		fclose( $open );
		if ( '502' === $fault ) {
			status_header( 502 );
			header( 'Content-Type: text/html' );
			die( '<html><body>Bad gateway</body></html>' );
		}
		if ( 'page' === $fault ) {
			header( 'Content-Type: text/html' );
			die( '<html><body>Are you human?</body></html>' );
		}
		if ( 'die' === $fault ) {
			// In the midst of the transaction.
			add_action( 'wp_insert_post', static fn() => posix_kill( getmypid(), 9 ) );
		}
		if ( 'lose' === $fault ) {
			// After the commit, before the answer.
			add_filter( 'rest_post_dispatch', static fn() => posix_kill( getmypid(), 9 ), 1 );
		}
		return $result;
	},
	200,
	3
);
