<?php
/**
 * Posts.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Writes results into posts, and says when it must not: a post that a person has touched is theirs.
 */
final class Sluice_Posts {

	public const META = array(
		'_sluice_post_key'  => 'string',
		'_sluice_job_id'    => 'string',
		'_sluice_type'      => 'string',
		'_sluice_mode'      => 'string',
		'_sluice_trace_id'  => 'string',
		'_sluice_title'     => 'string',
		'_sluice_summary'   => 'string',
		'_sluice_artifacts' => 'string',
	);

	/** Registers the meta: ours alone, not for forms and not for the REST API. */
	public static function register_meta(): void {
		foreach ( self::META as $key => $type ) {
			register_meta(
				'post',
				$key,
				array(
					'type'          => $type,
					'single'        => true,
					'show_in_rest'  => false,
					'auth_callback' => array( self::class, 'nobody' ),
				)
			);
		}
	}

	/** Our meta is written by code, never by a form. */
	public static function nobody(): bool {
		return false;
	}

	/**
	 * What tells whether somebody changed a post.
	 *
	 * @param WP_Post $post The post.
	 */
	public static function hash( WP_Post $post ): string {
		return hash( 'sha256', $post->post_title . "\0" . $post->post_content );
	}

	/**
	 * A post as it is now, held until the transaction ends: who saves it meanwhile waits, and wins.
	 *
	 * @param int $post_id The post.
	 */
	public static function locked( int $post_id ): ?WP_Post {
		global $wpdb;
		$row = $wpdb->get_row( $wpdb->prepare( "SELECT * FROM {$wpdb->posts} WHERE ID = %d FOR UPDATE", $post_id ) );
		return $row ? new WP_Post( $row ) : null;
	}

	/**
	 * Whether a result may be written over what the post holds.
	 *
	 * @param WP_Post $post    The post.
	 * @param object  $subject The row that says what was written last.
	 */
	public static function is_ours( WP_Post $post, object $subject ): bool {
		if ( $post->post_status !== $subject->applied_status || self::hash( $post ) !== $subject->applied_hash ) {
			return false;
		}
		if ( ! function_exists( 'wp_check_post_lock' ) ) {
			require_once ABSPATH . 'wp-admin/includes/post.php';
		}
		return ! wp_check_post_lock( $post->ID );
	}

	/**
	 * Title and content of a result, harmless, as posts store them.
	 *
	 * @param string $title   HTML text.
	 * @param string $summary HTML text.
	 * @param array  $info    `job_id`, `type`.
	 * @return array{post_title:string,post_content:string}
	 */
	public static function fields( string $title, string $summary, array $info ): array {
		$fields = array(
			'post_title'   => Sluice_Text::html( Sluice_Text::line( $title ) ),
			'post_content' => Sluice_Text::blocks( Sluice_Text::plain( $summary ) ),
		);
		/**
		 * Title and content before they are written. What is returned is written as it is, through
		 * WordPress's own filters for people who may not write unfiltered HTML.
		 *
		 * @param array $fields `post_title`, `post_content`.
		 * @param array $info   `job_id`, `type`.
		 */
		$filtered = apply_filters( 'sluice_post_fields', $fields, $info );
		return array_merge( $fields, array_intersect_key( (array) $filtered, $fields ) );
	}

	/**
	 * Makes the post of a result.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param array           $type     Settings of its type.
	 * @return int|WP_Error The post's id.
	 */
	public static function create( Sluice_Callback $callback, array $type ): int|WP_Error {
		$fields = self::fields( $callback->title, $callback->summary, self::info( $callback ) );
		$post   = $fields + array(
			'post_type'      => post_type_exists( $type['post_type'] ) ? $type['post_type'] : 'post',
			'post_status'    => self::status( $type ),
			'post_author'    => $type['author'],
			'comment_status' => 'closed',
			'meta_input'     => self::meta( $callback, 'post' ),
		);
		if ( $type['category'] && is_object_in_taxonomy( $post['post_type'], 'category' ) && term_exists( $type['category'], 'category' ) ) {
			$post['post_category'] = array( $type['category'] );
		}
		if ( '' !== $type['template'] && isset( wp_get_theme()->get_page_templates( null, $post['post_type'] )[ $type['template'] ] ) ) {
			$post['page_template'] = $type['template'];
		}
		return wp_insert_post( wp_slash( $post ), true );
	}

	/**
	 * The status of a new post: published only where the settings say so and name an author who may.
	 *
	 * @param array $type Settings of the type.
	 */
	private static function status( array $type ): string {
		if ( 'publish' !== $type['status'] ) {
			return 'pending' === $type['status'] ? 'pending' : 'draft';
		}
		$object = get_post_type_object( $type['post_type'] );
		return $object && $type['author'] && user_can( $type['author'], $object->cap->publish_posts ) ? 'publish' : 'draft';
	}

	/**
	 * Writes a result over a post that is still as it was written last.
	 *
	 * @param int             $post_id  The post.
	 * @param Sluice_Callback $callback The result.
	 * @return int|WP_Error
	 */
	public static function update( int $post_id, Sluice_Callback $callback ): int|WP_Error {
		$post   = get_post( $post_id );
		$fields = self::fields( $callback->title, $callback->summary, self::info( $callback ) );
		if ( $post->post_title === $fields['post_title'] && $post->post_content === $fields['post_content'] ) {
			self::attach( $post_id, $callback, 'post' );
			return $post_id;
		}
		return wp_update_post(
			wp_slash(
				$fields + array(
					'ID'         => $post_id,
					'meta_input' => self::meta( $callback, 'post' ),
				)
			),
			true
		);
	}

	/**
	 * Writes our own meta and nothing else of the post.
	 *
	 * @param int             $post_id  The post.
	 * @param Sluice_Callback $callback The result.
	 * @param string          $mode     Whether the result is the post's text (`post`) or beside it (`meta`).
	 */
	public static function attach( int $post_id, Sluice_Callback $callback, string $mode ): void {
		foreach ( self::meta( $callback, $mode ) as $key => $value ) {
			update_post_meta( $post_id, $key, wp_slash( $value ) );
		}
	}

	/**
	 * A post that an interrupted write left behind where the database has no transactions.
	 *
	 * @param string $post_key The subject.
	 */
	public static function left_behind( string $post_key ): int {
		global $wpdb;
		return (int) $wpdb->get_var(
			$wpdb->prepare(
				"SELECT p.ID FROM {$wpdb->postmeta} m JOIN {$wpdb->posts} p ON p.ID = m.post_id WHERE m.meta_key = '_sluice_post_key' AND m.meta_value = %s AND p.post_type <> 'revision' ORDER BY p.ID LIMIT 1",
				$post_key
			)
		);
	}

	/**
	 * Our meta for a result.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param string          $mode     As for attach.
	 * @return array<string,string>
	 */
	private static function meta( Sluice_Callback $callback, string $mode ): array {
		return array(
			'_sluice_post_key'  => $callback->post_key,
			'_sluice_job_id'    => $callback->job_id,
			'_sluice_type'      => $callback->type,
			'_sluice_mode'      => $mode,
			'_sluice_trace_id'  => $callback->trace_id,
			'_sluice_title'     => Sluice_Text::line( $callback->title ),
			'_sluice_summary'   => Sluice_Text::plain( $callback->summary ),
			'_sluice_artifacts' => (string) wp_json_encode( $callback->artifacts ),
		);
	}

	/**
	 * What filters are told of a result.
	 *
	 * @param Sluice_Callback $callback The result.
	 */
	private static function info( Sluice_Callback $callback ): array {
		return array(
			'job_id' => $callback->job_id,
			'type'   => $callback->type,
		);
	}

	/**
	 * The artifacts of a post, as links that were checked again.
	 *
	 * @param int $post_id The post.
	 * @return array<int,array{type:string,id?:string,url:string,expires_at:?int}>
	 */
	public static function artifacts( int $post_id ): array {
		return self::artifacts_of( (string) get_post_meta( $post_id, '_sluice_artifacts', true ) );
	}

	/**
	 * Stored artifacts.
	 *
	 * @param string $json As stored.
	 */
	private static function artifacts_of( string $json ): array {
		$rows = json_decode( $json, true );
		return array_values(
			array_filter(
				is_array( $rows ) ? $rows : array(),
				static fn( mixed $row ): bool => is_array( $row ) && is_string( $row['type'] ?? null ) && Sluice_Callback::is_link( $row['url'] ?? null )
			)
		);
	}
}
