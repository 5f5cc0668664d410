<?php
// Names each variable in a double-quoted SQL text that is no table of ours and no part that was prepared
// before. Usage: php sql-texts.php FILE…
$known = array( '$table', '$inbox', '$subjects', '$tokens', '$wpdb', '$where', '$only', '$newer', '$ids', '$over', '$places', '$p', '$id', '$end' );
$bad   = false;
foreach ( array_slice( $argv, 1 ) as $file ) {
	$open = null;
	foreach ( token_get_all( file_get_contents( $file ) ) as $token ) {
		if ( '"' === $token ) {
			$open = null === $open ? '' : null;
		} elseif ( null !== $open && is_array( $token ) ) {
			if ( '' === $open && T_ENCAPSED_AND_WHITESPACE === $token[0] ) {
				$open = $token[1];
			}
			if ( T_VARIABLE === $token[0] && preg_match( '/^\(?\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|AND|WHERE)\b/', $open ) && ! in_array( $token[1], $known, true ) ) {
				fwrite( STDERR, "$file:$token[2]: $token[1] in an SQL text\n" );
				$bad = true;
			}
		}
	}
}
exit( $bad ? 1 : 0 );
