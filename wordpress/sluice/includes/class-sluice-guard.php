<?php
/**
 * The door.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Lets the gateway's requests in and refuses all others with the same answer, whatever the cause. The
 * reason is remembered on this site only. Sets no current user: the gateway is nobody here.
 */
final class Sluice_Guard {

	/** The gateway's routes and what a token must be for. */
	public const SCOPES = array(
		'/sluice/v1/callbacks'  => 'job:write',
		'/sluice/v1/status'     => 'status:write',
		'/sluice/v1/outbox/run' => 'outbox:run',
		'/sluice/v1/self-test'  => 'self_test:write',
		'/sluice/v1/health'     => 'health:read',
	);

	/**
	 * Claims by request: WordPress asks twice for each.
	 *
	 * @var WeakMap<WP_REST_Request,array|WP_Error>|null
	 */
	private static ?WeakMap $known = null;

	/** Hooks. */
	public static function hooks(): void {
		add_filter( 'rest_pre_dispatch', array( self::class, 'before_dispatch' ), 99, 3 );
		add_filter( 'rest_post_dispatch', array( self::class, 'after_dispatch' ), 10, 3 );
	}

	/**
	 * The `permission_callback` of the gateway's routes.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return true|WP_Error
	 */
	public static function permission( WP_REST_Request $request ): bool|WP_Error {
		$claims = self::claims( $request );
		return is_wp_error( $claims ) ? $claims : true;
	}

	/**
	 * The claims of a request's token.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return array<string,mixed>|WP_Error
	 */
	public static function claims( WP_REST_Request $request ): array|WP_Error {
		self::$known ??= new WeakMap();
		if ( ! isset( self::$known[ $request ] ) ) {
			self::$known[ $request ] = self::verify( $request );
		}
		return self::$known[ $request ];
	}

	/**
	 * Verifies a request's token.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return array<string,mixed>|WP_Error
	 */
	private static function verify( WP_REST_Request $request ): array|WP_Error {
		list( $token, $header ) = self::token( $request );
		$keys                   = Sluice_Keys::usable();
		$expected               = array(
			'site_uuid' => Sluice_Options::site_uuid(),
			'scope'     => self::SCOPES[ strtolower( $request->get_route() ) ] ?? '-',
			'iss'       => (string) get_option( 'sluice_gateway', '' ),
			'sub'       => (string) get_option( 'sluice_tenant', '' ),
		);
		$claims                 = Sluice_Token::verify( $token, (string) $request->get_body(), $keys, $expected, time() );
		if ( 'unknown_key' === $claims ) {
			Sluice_Keys::missed();
		}
		if ( is_string( $claims ) ) {
			return self::refuse( $keys ? $claims : 'no_keys' );
		}
		Sluice_Options::saw( $header, $claims['iat'] );
		return $claims;
	}

	/**
	 * The one refusal.
	 *
	 * @param string $reason For this site's settings page only.
	 */
	public static function refuse( string $reason ): WP_Error {
		Sluice_Options::refused( $reason );
		return new WP_Error( 'sluice_refused', 'Refused.', array( 'status' => 401 ) );
	}

	/**
	 * The token, and the header that brought it. Our own header comes first: other plugins take
	 * `Authorization` for theirs, and some servers drop it.
	 *
	 * @param WP_REST_Request $request The request.
	 * @return array{0:string,1:string}
	 */
	private static function token( WP_REST_Request $request ): array {
		foreach ( array( 'X-Sluice-Authorization', 'Authorization' ) as $header ) {
			$value = $request->get_header( $header );
			if ( is_string( $value ) && 1 === preg_match( '/^Bearer +([A-Za-z0-9._-]+)$/Di', trim( $value ), $found ) ) {
				return array( $found[1], $header );
			}
		}
		return array( '', '' );
	}

	/**
	 * Refuses before WordPress parses the body, or strangers would learn from its errors what a body
	 * should look like; and takes back what a plugin that eats every Bearer token said of ours.
	 *
	 * @param mixed           $result  What others answered already.
	 * @param WP_REST_Server  $server  The server.
	 * @param WP_REST_Request $request The request.
	 * @return mixed
	 */
	public static function before_dispatch( mixed $result, WP_REST_Server $server, WP_REST_Request $request ): mixed {
		$route = strtolower( $request->get_route() );
		if ( ! isset( self::SCOPES[ $route ] ) || ! in_array( $request->get_method(), array( 'POST', 'GET' ), true ) ) {
			return $result;
		}
		if ( 'GET' === $request->get_method() && '/sluice/v1/health' !== $route ) {
			return $result;
		}
		$claims = self::claims( $request );
		if ( is_wp_error( $claims ) ) {
			return $claims;
		}
		return is_wp_error( $result ) && str_contains( (string) $result->get_error_code(), 'jwt' ) ? null : $result;
	}

	/**
	 * Headers of our answers.
	 *
	 * @param WP_HTTP_Response $response The answer.
	 * @param WP_REST_Server   $server   The server.
	 * @param WP_REST_Request  $request  The request.
	 */
	public static function after_dispatch( WP_HTTP_Response $response, WP_REST_Server $server, WP_REST_Request $request ): WP_HTTP_Response {
		if ( str_starts_with( strtolower( $request->get_route() ), '/sluice/v1' ) ) {
			$response->header( 'Cache-Control', 'no-store' );
			if ( 401 === $response->get_status() ) {
				$response->header( 'WWW-Authenticate', 'Bearer error="invalid_token"' );
			}
			if ( 503 === $response->get_status() ) {
				$response->header( 'Retry-After', '5' );
			}
		}
		return $response;
	}
}
