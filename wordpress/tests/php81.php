<?php
// Whether files keep to PHP 8.1, which Debian has not: what later versions brought, as tokens or names.
// Usage: php php81.php FILE…; a newer parser (php -l) refuses nothing of it.

/** What of this code PHP 8.1 does not know. */
function beyond( string $code ): array {
	$plain = '';
	foreach ( token_get_all( $code ) as $token ) {
		list( $kind, $text ) = is_array( $token ) ? $token : array( null, $token );
		if ( in_array( $kind, array( T_COMMENT, T_DOC_COMMENT, T_INLINE_HTML, T_WHITESPACE ), true ) ) {
			$plain .= ' ';
		} else {
			$plain .= in_array( $kind, array( T_CONSTANT_ENCAPSED_STRING, T_ENCAPSED_AND_WHITESPACE ), true ) ? "''" : $text;
		}
	}
	$functions = 'ini_parse_quantity|curl_upkeep|mysqli_execute_query|memory_(?:reset_peak|get_peak_reset)_usage|openssl_cipher_key_length|sodium_crypto_stream_xchacha20_xor_ic|json_validate|mb_str_pad|str_(?:increment|decrement)|stream_context_set_options|array_(?:find|find_key|any|all|first|last)|mb_(?:trim|ltrim|rtrim|ucfirst|lcfirst)|grapheme_str_split|request_parse_body|http_(?:get|clear)_last_response_headers|bc(?:round|ceil|floor|divmod)|get_error_handler|get_exception_handler';
	$new       = array(
		'8.2: a readonly class'          => '/\breadonly +(?:(?:final|abstract) +)*class\b/',
		'8.2: (A&B)|C'                   => '/\([\w\\\\]+ *& *[\w\\\\]+\) *\||\| *\([\w\\\\]+ *& *[\w\\\\]+\)/',
		'8.2: a constant of a trait'     => '/\btrait +\w+ *\{[^}]*\bconst\b/',
		'8.2: a newer function'          => '/(?<![\w>:\\\\])(?:' . $functions . ') *\(/',
		'8.2: a newer class'             => '/\bRandom\\\\|\bSensitiveParameterValue\b/',
		'8.3: a typed constant'          => '/\bconst +[\w\\\\|?]+ +\w+ *=/',
		'8.3: Class::{…}'                => '/::\{/',
		'8.4: set visibility'            => '/\b(?:public|protected|private) *\( *set *\)/',
		'8.5: the pipe'                  => '/\|>/',
	);
	$found = array_keys( array_filter( $new, static fn( string $pattern ): bool => 1 === preg_match( $pattern, $plain ) ) );
	// Signatures: the list of parameters, and what is returned.
	preg_match_all( '/\b(?:function\b[^({;]*|fn *&? *)(\((?:[^()]|(?1))*\))(?: *use *\([^)]*\))?(?: *: *([\w\\\\|?& ()]+?) *(?:\{|;|=>))?/', $plain, $signatures, PREG_SET_ORDER );
	foreach ( $signatures as $signature ) {
		preg_match_all( '/[(,] *(?:(?:public|protected|private|readonly) +)*([\w\\\\|?&]+) +&?(?:\.\.\. *)?\$/', $signature[1], $parameters );
		foreach ( array( ...$parameters[1], $signature[2] ?? '' ) as $type ) {
			$of = array_map( 'strtolower', preg_split( '/[|? ]+/', $type, -1, PREG_SPLIT_NO_EMPTY ) );
			if ( in_array( 'true', $of, true ) || array( 'false' ) === $of || array( 'null' ) === $of ) {
				$found[] = "8.2: $type as type";
			}
		}
	}
	return $found;
}

// A check that finds nothing has to be one that can.
foreach ( array( 'readonly class A {}', 'final readonly class A {}', 'function f(): true {}', 'function f( A|true $x ) {}', 'function f( true $x ) {}', 'function f(): A|true {}', 'function f( (A&B)|C $x ) {}', 'trait T { const X = 1; }', '$x = json_validate( $y );', 'new Random\Randomizer();', 'class A { const string X = ""; }', 'A::{$x};', 'class A { public private(set) int $x; }' ) as $sample ) {
	if ( ! beyond( '<?php ' . $sample ) ) {
		fwrite( STDERR, "php81.php does not find: $sample\n" );
		exit( 1 );
	}
}
foreach ( array( 'f( true, $x );', 'return true;', 'function f( bool $x = true, ?int $y = null ): ?bool {}', '$a = array( "x" => true );', 'enum E: string { case A = "a"; const X = 1; }', 'f( $x ? true : false );', '$o->array_find( 1 ); // readonly class', 'class A { public function __construct( public readonly int $x ) {} private const X = 1; }', 'g( ...f( ... ) );' ) as $sample ) {
	if ( beyond( '<?php ' . $sample ) ) {
		fwrite( STDERR, "php81.php takes for newer: $sample: " . implode( ', ', beyond( '<?php ' . $sample ) ) . "\n" );
		exit( 1 );
	}
}
$failed = 0;
foreach ( array_slice( $argv, 1 ) as $file ) {
	foreach ( beyond( file_get_contents( $file ) ) as $what ) {
		fwrite( STDERR, "$file: $what\n" );
		$failed = 1;
	}
}
exit( $failed );
