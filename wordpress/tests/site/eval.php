<?php
// Runs PHP from the standard input inside WordPress and prints what it returns as JSON.
// Usage: php eval.php WP HOST [USER] < code
list( , $root, $host ) = $argv;
$_SERVER['HTTP_HOST']       = $host;
$_SERVER['REQUEST_URI']     = '/';
$_SERVER['REQUEST_METHOD']  = 'GET';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
if ( isset( $argv[3] ) && 'admin' === $argv[3] ) {
	define( 'WP_ADMIN', true );
}
require $root . '/wp-load.php';
if ( is_admin() ) {
	require_once ABSPATH . 'wp-admin/includes/admin.php';
}
wp_set_current_user( isset( $argv[3] ) ? get_user_by( 'login', $argv[3] )->ID : 0 );
// phpcs:ignore -- this is what it is for.
echo json_encode( eval( stream_get_contents( STDIN ) ) ), "\n";
