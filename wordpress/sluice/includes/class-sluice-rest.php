<?php
/**
 * Routes.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * What the gateway calls, and what the editors' screen reads.
 */
final class Sluice_Rest {

	/** Registers the routes. */
	public static function register(): void {
		$gateway = array(
			'/callbacks'  => array( 'POST', 'callback' ),
			'/status'     => array( 'POST', 'status' ),
			'/outbox/run' => array( 'POST', 'run_outbox' ),
			'/self-test'  => array( 'POST', 'self_test' ),
			'/health'     => array( 'GET', 'health' ),
		);
		foreach ( $gateway as $path => list( $method, $callback ) ) {
			self::route( $path, $method, $callback, array( 'Sluice_Guard', 'permission' ) );
		}
		self::route( '/jobs', 'GET', 'jobs', array( self::class, 'may_view' ) );
		self::route( '/self-test', 'GET', 'last_self_test', array( self::class, 'may_manage' ) );
	}

	/**
	 * Registers one. No `args`: WordPress checks those before it asks who calls.
	 *
	 * @param string   $path       The path.
	 * @param string   $method     The method.
	 * @param string   $callback   A method of this class.
	 * @param callable $permission The `permission_callback`.
	 */
	private static function route( string $path, string $method, string $callback, callable $permission ): void {
		register_rest_route(
			'sluice/v1',
			$path,
			array(
				'methods'             => $method,
				'callback'            => array( self::class, $callback ),
				'permission_callback' => $permission,
				'show_in_index'       => false,
			)
		);
	}

	/** Whether the present user may see jobs. */
	public static function may_view(): bool {
		return current_user_can( Sluice_Caps::VIEW );
	}

	/** Whether the present user may change settings. */
	public static function may_manage(): bool {
		return current_user_can( Sluice_Caps::MANAGE );
	}

	/**
	 * A result of a job.
	 *
	 * @param WP_REST_Request $request The request.
	 */
	public static function callback( WP_REST_Request $request ): WP_REST_Response|WP_Error {
		$claims = self::enter( $request );
		if ( is_wp_error( $claims ) ) {
			return $claims;
		}
		$callback = Sluice_Callback::read( (string) $request->get_body() );
		if ( is_array( $callback ) ) {
			return self::invalid( $callback );
		}
		$same = ( $claims['job_id'] ?? null ) === $callback->job_id && ( $claims['fence'] ?? null ) === $callback->fence && $claims['sub'] === $callback->tenant;
		if ( ! $same ) {
			return Sluice_Guard::refuse( 'other_job' );
		}
		$result = Sluice_Inbox::apply( $callback );
		if ( is_wp_error( $result ) ) {
			return $result;
		}
		return new WP_REST_Response(
			array(
				'ok'      => true,
				'job_id'  => $callback->job_id,
				'fence'   => $callback->fence,
				'outcome' => $result['outcome'],
				'post_id' => $result['post_id'] ? $result['post_id'] : null,
			),
			'created' === $result['outcome'] ? 201 : 200
		);
	}

	/**
	 * A report of job states; answered with what this site asks for.
	 *
	 * @param WP_REST_Request $request The request.
	 */
	public static function status( WP_REST_Request $request ): WP_REST_Response|WP_Error {
		$claims = self::enter( $request );
		if ( is_wp_error( $claims ) ) {
			return $claims;
		}
		$report = Sluice_Status::read( (string) $request->get_body() );
		if ( is_array( $report ) ) {
			return self::invalid( $report );
		}
		if ( ! Sluice_Jobs::report( $claims['sub'], $report->jobs ) ) {
			return new WP_Error( 'sluice_busy', 'The database could not take this now.', array( 'status' => 503 ) );
		}
		foreach ( $report->answers as $answer ) {
			Sluice_Requests::answer( $answer['id'], $answer['outcome'] );
		}
		return new WP_REST_Response(
			array(
				'ok'         => true,
				'cursor'     => Sluice_Jobs::cursor( $claims['sub'] ),
				'requests'   => Sluice_Requests::hand_out(),
				'outbox_due' => Sluice_Outbox::due(),
			)
		);
	}

	/**
	 * The gateway's nudge: runs follow-ups, so that nothing depends on the site's visitors.
	 *
	 * @param WP_REST_Request $request The request.
	 */
	public static function run_outbox( WP_REST_Request $request ): WP_REST_Response|WP_Error {
		$claims = self::enter( $request );
		if ( is_wp_error( $claims ) ) {
			return $claims;
		}
		$ran = Sluice_Outbox::run();
		return new WP_REST_Response(
			array(
				'ok'         => true,
				'ran'        => $ran,
				'outbox_due' => Sluice_Outbox::due(),
			)
		);
	}

	/**
	 * The gateway's part of a self-test.
	 *
	 * @param WP_REST_Request $request The request.
	 */
	public static function self_test( WP_REST_Request $request ): WP_REST_Response|WP_Error {
		$claims = self::enter( $request );
		if ( is_wp_error( $claims ) ) {
			return $claims;
		}
		$body = Sluice_Json::read( (string) $request->get_body(), 4 );
		$id   = $body['request_id'] ?? null;
		$test = is_int( $id ) && 1 === ( $body['schema_version'] ?? null ) ? Sluice_Requests::find( $id ) : null;
		if ( ! $test || 'self_test' !== $test->kind ) {
			return self::invalid( array( 'request_id' ) );
		}
		Sluice_Requests::answer( $id, 'done' );
		return new WP_REST_Response( array( 'ok' => true ) );
	}

	/**
	 * What the gateway's doctor asks.
	 *
	 * @param WP_REST_Request $request The request.
	 */
	public static function health( WP_REST_Request $request ): WP_REST_Response|WP_Error {
		$claims = self::enter( $request );
		if ( is_wp_error( $claims ) ) {
			return $claims;
		}
		return new WP_REST_Response(
			array(
				'ok'              => true,
				'plugin'          => SLUICE_VERSION,
				'schema_versions' => array( 1 ),
				'now'             => time(),
				'header'          => Sluice_Options::seen()['header'],
				'kids'            => array_keys( Sluice_Keys::usable() ),
				'outbox_due'      => Sluice_Outbox::due(),
			)
		);
	}

	/**
	 * What each of the gateway's routes begins with: size, then the token's one use.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return array<string,mixed>|WP_Error The claims.
	 */
	private static function enter( WP_REST_Request $request ): array|WP_Error {
		$claims = Sluice_Guard::claims( $request );
		if ( is_wp_error( $claims ) ) {
			return $claims;
		}
		if ( strlen( (string) $request->get_body() ) > Sluice_Callback::MAX_BODY ) {
			return new WP_Error( 'sluice_too_large', 'The body is too large.', array( 'status' => 413 ) );
		}
		if ( 'POST' === $request->get_method() && ! $request->is_json_content_type() ) {
			return new WP_Error( 'sluice_media_type', 'The body must be application/json.', array( 'status' => 415 ) );
		}
		$fresh = Sluice_Inbox::consume( $claims );
		if ( null === $fresh ) {
			return new WP_Error( 'sluice_busy', 'The database could not take this now.', array( 'status' => 503 ) );
		}
		return $fresh ? $claims : Sluice_Guard::refuse( 'replayed' );
	}

	/**
	 * The fields that do not fit.
	 *
	 * @param string[] $fields Their names.
	 */
	private static function invalid( array $fields ): WP_Error {
		return new WP_Error(
			'sluice_invalid',
			'Fields that do not fit: ' . implode( ', ', $fields ) . '.',
			array(
				'status' => 422,
				'fields' => $fields,
			)
		);
	}

	/**
	 * The jobs that a page of the screen shows, for its refresh.
	 *
	 * @param WP_REST_Request $request The request.
	 */
	public static function jobs( WP_REST_Request $request ): WP_REST_Response {
		Sluice_Pull::run();
		$filter = array(
			'state'  => self::text( $request, 'state' ),
			'search' => self::text( $request, 's' ),
		);
		$rows   = array_filter( Sluice_Jobs::page( $filter, 50 ), array( 'Sluice_Caps', 'may_see' ) );
		return new WP_REST_Response(
			array(
				'jobs'   => array_map( array( self::class, 'job' ), array_values( $rows ) ),
				'counts' => Sluice_Jobs::counts(),
			)
		);
	}

	/**
	 * What of a job leaves the server.
	 *
	 * @param object $job The row.
	 */
	private static function job( object $job ): array {
		return array(
			'job_id'   => $job->job_id,
			'state'    => $job->state,
			'label'    => Sluice_Words::state( $job->state ),
			'attempts' => (int) $job->attempts,
			'next'     => Sluice_Screen::next_text( $job ),
			'error'    => Sluice_Words::error( $job->last_error, $job->state ),
			'updated'  => Sluice_Screen::ago( intdiv( (int) $job->updated_at, 1000000 ) ),
		);
	}

	/**
	 * The last self-test.
	 */
	public static function last_self_test(): WP_REST_Response {
		Sluice_Pull::run();
		$test = Sluice_Requests::last_self_test();
		return new WP_REST_Response(
			array(
				'state' => $test ? $test->state : '',
				'text'  => $test ? Sluice_Settings::self_test_text( $test ) : '',
			)
		);
	}

	/**
	 * A query parameter as text.
	 *
	 * @param WP_REST_Request $request The request.
	 * @param string          $name    The parameter.
	 */
	private static function text( WP_REST_Request $request, string $name ): string {
		$value = $request->get_param( $name );
		return is_string( $value ) ? mb_substr( $value, 0, 100, 'UTF-8' ) : '';
	}
}
