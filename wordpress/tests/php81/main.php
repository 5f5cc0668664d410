<?php
// Run by main.mjs, with the repository at /repository.
echo 'PHP ', PHP_VERSION, "\n";
if ( ! str_starts_with( PHP_VERSION, '8.1.' ) ) {
	exit( 1 );
}
$files = 0;
foreach ( new RecursiveIteratorIterator( new RecursiveDirectoryIterator( '/repository/wordpress/sluice', FilesystemIterator::SKIP_DOTS ) ) as $file ) {
	if ( str_ends_with( (string) $file, '.php' ) ) {
		token_get_all( file_get_contents( $file ), TOKEN_PARSE );
		++$files;
	}
}
echo "$files files parse\n";
require '/sodium/autoload.php';
ini_set( 'include_path', '/usr/share/php' );
define( 'PHPUNIT_COMPOSER_INSTALL', 'PHPUnit/Autoload.php' );
require PHPUNIT_COMPOSER_INSTALL;
chdir( '/repository/wordpress/tests' );
$code = ( new PHPUnit\TextUI\Command() )->run( array( 'phpunit', '-c', 'phpunit.xml', '--testsuite', 'unit' ), false );
echo "result $code\n";
