<?php
// What .htaccess does elsewhere, for PHP's own server: files as they are, folders by their index, the rest
// to WordPress.
$root = $_SERVER['DOCUMENT_ROOT'];
$path = rawurldecode( (string) parse_url( $_SERVER['REQUEST_URI'], PHP_URL_PATH ) );
// A network of sites in folders: /two/wp-admin/… is /wp-admin/…
$path = preg_replace( '#^/[a-z0-9-]+(/wp-(?:admin|includes|content)(?:/|$)|/wp-[a-z-]+\.php$)#', '$1', $path );
if ( is_dir( $root . $path ) && is_file( rtrim( $root . $path, '/' ) . '/index.php' ) ) {
	if ( ! str_ends_with( $path, '/' ) ) {
		header( 'Location: ' . $path . '/', true, 301 );
		return true;
	}
	$path .= 'index.php';
}
if ( is_file( $root . $path ) && ! str_ends_with( $path, '.php' ) ) {
	return false;
}
$script = is_file( $root . $path ) ? $path : '/index.php';
$_SERVER['SCRIPT_NAME']     = $script;
$_SERVER['PHP_SELF']        = $script;
$_SERVER['SCRIPT_FILENAME'] = $root . $script;
chdir( dirname( $root . $script ) );
require $root . $script;
