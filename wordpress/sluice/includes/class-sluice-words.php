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
	 * @param string $state The job's state.
	 */
	public static function error( string $error, string $state ): string {
		if ( '' === $error || 'succeeded' === $state ) {
			return '';
		}
		$callee = str_starts_with( $error, 'llm:' )
			? __( 'the language model', 'sluice' )
			: ( str_starts_with( $error, 'wordpress:' ) ? __( 'this site', 'sluice' ) : __( 'another service', 'sluice' ) );
		foreach ( self::causes() as $pattern => list( $words, $mends ) ) {
			if ( preg_match( $pattern, $error ) ) {
				return ucfirst( sprintf( $words, $callee ) ) . ' ' . self::advice( $mends, 'deadletter' === $state );
			}
		}
		return __( 'Something went wrong. Ask whoever runs the gateway; the job id tells them which job it is.', 'sluice' );
	}

	/**
	 * What to do about it.
	 *
	 * @param bool $mends    Whether such things usually pass.
	 * @param bool $given_up Whether the gateway has stopped trying.
	 */
	private static function advice( bool $mends, bool $given_up ): string {
		if ( ! $mends ) {
			return __( 'A person has to mend that; then it can be tried again.', 'sluice' );
		}
		return $given_up ? __( 'It was tried often. Retry when that is over.', 'sluice' ) : __( 'This usually mends itself.', 'sluice' );
	}

	/**
	 * Causes by what the gateway's words look like, and whether such things pass; the first that fits is told.
	 *
	 * @return array<string,array{0:string,1:bool}>
	 */
	private static function causes(): array {
		return array(
			'/^target_post_id:/'                           => array( __( 'The event does not name the post that its result belongs to.', 'sluice' ), false ),
			/* translators: %s: who was called, such as "the language model". */
			'/credentials|answered 40[13]\b|unauthori/i'   => array( __( '%s does not accept the gateway.', 'sluice' ), false ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered 429|at its limit|too many/i'        => array( __( '%s asked to slow down.', 'sluice' ), true ),
			/* translators: %s: who was called, such as "the language model". */
			'/timed? ?out|no answer within|deadline/i'     => array( __( '%s did not answer in time.', 'sluice' ), true ),
			/* translators: %s: who was called, such as "the language model". */
			'/connect|refused|resolve|breaker|broke off/i' => array( __( '%s could not be reached.', 'sluice' ), true ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered 5\d\d/i'                            => array( __( '%s had a failure of its own.', 'sluice' ), true ),
			/* translators: %s: who was called, such as "the language model". */
			'/not configured|address|certificate|TLS/i'    => array( __( 'The gateway is not set up to call %s.', 'sluice' ), false ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered 4\d\d/i'                            => array( __( '%s refused this job for good.', 'sluice' ), false ),
			/* translators: %s: who was called, such as "the language model". */
			'/answered [23]\d\d|JSON|echo/i'               => array( __( '%s gave an answer that makes no sense.', 'sluice' ), true ),
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
