<?php
// The classes that know nothing of WordPress, and what the tests share.
define( 'ABSPATH', __DIR__ );
$includes = dirname( __DIR__, 2 ) . '/sluice/includes';
foreach ( array( 'json', 'token', 'status', 'callback', 'text' ) as $name ) {
	require_once "$includes/class-sluice-$name.php";
}
require_once __DIR__ . '/Signer.php';
define( 'SLUICE_SOURCE', dirname( __DIR__, 2 ) . '/sluice' );
