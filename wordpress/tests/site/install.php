<?php
// Installs WordPress, the plugin, and one user for each role. Usage: php install.php WP HOST
list( , $root, $host ) = $argv;
$_SERVER['HTTP_HOST']       = $host;
$_SERVER['REQUEST_URI']     = '/';
$_SERVER['REQUEST_METHOD']  = 'GET';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';
define( 'WP_INSTALLING', true );
function wp_new_blog_notification() {}
require $root . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';
if ( ! is_blog_installed() ) {
	wp_install( 'Test site', 'admin', 'admin@example.test', false, '', 'password' );
	update_option( 'permalink_structure', '/%postname%/' );
	update_option( 'show_avatars', 0 );
	foreach ( array( 'editor', 'author', 'subscriber' ) as $role ) {
		wp_insert_user(
			array(
				'user_login' => $role,
				'user_pass'  => 'password',
				'user_email' => $role . '@example.test',
				'role'       => $role,
			)
		);
	}
	foreach ( get_users() as $user ) {
		update_user_meta( $user->ID, $GLOBALS['wpdb']->get_blog_prefix() . 'persisted_preferences', array( 'core/edit-post' => array( 'welcomeGuide' => false ), 'core' => array( 'enableChoosePatternModal' => false ), '_modified' => gmdate( 'c' ) ) );
	}
}
flush_rewrite_rules();
echo $GLOBALS['wp_version'], "\n";
