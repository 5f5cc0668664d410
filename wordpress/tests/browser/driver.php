<?php
// The gateway's part in the browser's tests. Usage: php driver.php METHOD [JSON of its arguments]
require_once dirname( __DIR__ ) . '/unit/bootstrap.php';
require_once dirname( __DIR__ ) . '/e2e/Site.php';
$site   = Site::get();
$method = $argv[1];
$result = match ( $method ) {
	'jwks'      => $site->signer->jwks(),
	'self_test' => $site->send( $site->signed( json_encode( array( 'schema_version' => 1, 'request_id' => json_decode( $argv[2] )[0] ) ), array( 'scope' => 'self_test:write' ), array(), 'self-test' ) ),
	default     => $site->$method( ...json_decode( $argv[2] ?? '[]', true ) ),
};
echo json_encode( $result ), "\n";
