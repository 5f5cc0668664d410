<?php
/**
 * Words that editors read.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * States and errors of jobs in plain words.
 */
final class Sluice_Words {

	/**
	 * A state's name.
	 *
	 * @param string $state The state.
	 */
	public static function state( string $state ): string {
		$words = self::states();
		return $words[ $state ] ?? $state;
	}

	/**
	 * The names of all states.
	 *
	 * @return array<string,string>
	 */
	public static function states(): array {
		return array(
			'pending'    => __( 'Waiting', 'sluice' ),
			'running'    => __( 'Running', 'sluice' ),
			'failed'     => __( 'Will be tried again', 'sluice' ),
			'deadletter' => __( 'Given up', 'sluice' ),
			'succeeded'  => __( 'Done', 'sluice' ),
			'superseded' => __( 'Overtaken by a newer event', 'sluice' ),
			'cancelled'  => __( 'Dismissed', 'sluice' ),
		);
	}

	/**
	 * What went wrong, for somebody who does not run the gateway.
	 *
	 * @param string $error The gateway's words.
	 */
	public static function error( string $error ): string {
		if ( '' === $error ) {
			return '';
		}
		$callee = str_starts_with( $error, 'llm:' )
			? __( 'the language model', 'sluice' )
			: ( str_starts_with( $error, 'wordpress:' ) ? __( 'this site', 'sluice' ) : __( 'another service', 'sluice' ) );
		foreach ( self::causes() as $pattern => $words ) {
			if ( preg_match( $pattern, $error ) ) {
				/* translators: %s: who was called, such as "the language model". */
				return ucfirst( sprintf( $words, $callee ) );
			}
		}
		return __( 'Something went wrong. Ask whoever runs the gateway; the job id tells them which job it is.', 'sluice' );
	}

	/**
	 * Causes by what the gateway's words look like; the first that fits is told.
	 *
	 * @return array<string,string>
	 */
	private static function causes(): array {
		return array(
			/* translators: %s: who was called, such as "the language model". */
			'/credentials|answered 40[13]\b|unauthori/i'   => __( '%s does not accept the gateway. A person has to mend that.', 'sluice' ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered 429|at its limit|too many/i'        => __( '%s asked to slow down. This mends itself.', 'sluice' ),
			/* translators: %s: who was called, such as "the language model". */
			'/timed? ?out|no answer within|deadline/i'     => __( '%s did not answer in time. This usually mends itself.', 'sluice' ),
			/* translators: %s: who was called, such as "the language model". */
			'/connect|refused|resolve|breaker|broke off/i' => __( '%s could not be reached. This usually mends itself.', 'sluice' ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered 5\d\d/i'                            => __( '%s had a failure of its own. This usually mends itself.', 'sluice' ),
			/* translators: %s: who was called, such as "the language model". */
			'/not configured|address|certificate|TLS/i'    => __( 'The gateway is not set up to call %s. A person has to mend that.', 'sluice' ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered 4\d\d/i'                            => __( '%s refused this job for good.', 'sluice' ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered [23]\d\d|JSON|echo/i'               => __( '%s gave an answer that makes no sense.', 'sluice' ),
		);
	}

	/**
	 * Why a request of the gateway was refused.
	 *
	 * @param string $reason The verifier's word.
	 */
	public static function refusal( string $reason ): string {
		$words = array(
			'missing'        => __( 'The request brought no token. If it came from the gateway, a server or plugin in between removes the headers X-Sluice-Authorization and Authorization.', 'sluice' ),
			'malformed'      => __( 'The token is not one of a gateway.', 'sluice' ),
			'algorithm'      => __( 'The token is signed with another algorithm than Ed25519.', 'sluice' ),
			'type'           => __( 'The token is of another kind than callbacks use.', 'sluice' ),
			'unknown_key'    => __( 'The token is signed by a key that this site does not know. Paste the gateway’s present keys, or fetch them.', 'sluice' ),
			'bad_signature'  => __( 'The token’s signature is wrong.', 'sluice' ),
			'wrong_audience' => __( 'The token is for another site: site_uuid in the gateway’s tenant file is not this site’s.', 'sluice' ),
			'wrong_iss'      => __( 'The token comes from another gateway than the one in the settings.', 'sluice' ),
			'wrong_sub'      => __( 'The token is of another tenant than the one in the settings.', 'sluice' ),
			'scope'          => __( 'The token is for another purpose than the address it was sent to.', 'sluice' ),
			'lifetime'       => __( 'The token lives longer than is allowed.', 'sluice' ),
			'expired'        => __( 'The token has expired: the clocks of gateway and site differ, or it was sent again later.', 'sluice' ),
			'not_yet'        => __( 'The token is from the future: the clocks of gateway and site differ.', 'sluice' ),
			'other_body'     => __( 'The token was made for another body: something in between changes requests, or somebody tried to.', 'sluice' ),
			'replayed'       => __( 'The token was used before: a proxy sends requests twice, or somebody tried to.', 'sluice' ),
			'other_job'      => __( 'The token was made for another job.', 'sluice' ),
			'no_keys'        => __( 'This site has no usable key of the gateway.', 'sluice' ),
		);
		return $words[ $reason ] ?? $reason;
	}
}
