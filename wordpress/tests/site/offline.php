<?php
/**
 * Plugin Name: Test site: nothing leaves this machine
 * Mails go to a file, calls go to loopback or nowhere. Misbehaves when a file of the test says so.
 */

add_filter(
	'pre_http_request',
	static function ( $answer, $arguments, $url ) {
		$host = parse_url( $url, PHP_URL_HOST );
		return in_array( $host, array( '127.0.0.1', 'localhost' ), true ) ? $answer : new WP_Error( 'offline', 'offline' );
	},
	10,
	3
);
add_filter( 'http_request_host_is_external', '__return_true' );
add_filter( 'http_allowed_safe_ports', static fn( $ports ) => array_merge( $ports, range( 1024, 65535 ) ) );
add_filter(
	'pre_wp_mail',
	static function ( $done, $mail ) {
		if ( is_file( SLUICE_TEST_DIR . '/slow-mail' ) ) {
			usleep( 2000000 );
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
			posix_kill( getmypid(), SIGKILL );
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
// A plugin that takes every Bearer token for its own, as some do.
add_filter(
	'rest_pre_dispatch',
	static function ( $result ) {
		$taken = isset( $_SERVER['HTTP_AUTHORIZATION'] ) && is_file( SLUICE_TEST_DIR . '/hijack' );
		return $taken ? new WP_Error( 'jwt_auth_invalid_token', 'Wrong number of segments', array( 'status' => 403 ) ) : $result;
	}
);
