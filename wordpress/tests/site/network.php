<?php
// Makes a network of sites in folders out of an installed site, with a second site and the plugin active
// on all. Usage: php network.php WP HOST (once with `prepare`, then with `finish` when wp-config.php says so)
// phpcs:ignore
list( , $root, $host, $step ) = $argv;
$_SERVER['HTTP_HOST']       = $host;
$_SERVER['REQUEST_URI']     = '/';
$_SERVER['REQUEST_METHOD']  = 'GET';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
if ( 'prepare' === $step ) {
	define( 'WP_INSTALLING_NETWORK', true );
}
require $root . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';
if ( 'prepare' === $step ) {
	deactivate_plugins( 'sluice/sluice.php' );
	require_once ABSPATH . 'wp-admin/includes/network.php';
	foreach ( $wpdb->tables( 'ms_global' ) as $name => $table ) {
		$wpdb->$name = $table;
	}
	install_network();
	$made = populate_network( 1, $host, 'admin@example.test', 'Network', '/', false );
	// A network on an address with a port is told off, and works.
	echo is_wp_error( $made ) ? implode( ' ', $made->get_error_codes() ) : 'made', "\n";
} else {
	$active = activate_plugin( 'sluice/sluice.php', '', true );
	$site   = wpmu_create_blog( $host, '/two/', 'Two', 1 );
	echo json_encode( array( is_wp_error( $active ) ? $active->get_error_messages() : 'active', is_wp_error( $site ) ? $site->get_error_messages() : $site ) ), "\n";
}
