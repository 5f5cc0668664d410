<?php
/**
 * Updates that wait for a person.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * A newer result for a post that somebody changed is kept beside it until an editor takes or drops it.
 */
final class Sluice_Proposals {

	/**
	 * Keeps a result beside its post; the newest one only.
	 *
	 * @param Sluice_Callback $callback The result.
	 * @param int             $post_id  Its post, which may be gone.
	 */
	public static function keep( Sluice_Callback $callback, int $post_id ): bool {
		global $wpdb;
		return false !== $wpdb->replace(
			Sluice_Schema::table( 'proposals' ),
			array(
				'post_key'   => $callback->post_key,
				'job_id'     => $callback->job_id,
				'post_id'    => $post_id,
				'type'       => $callback->type,
				'title'      => Sluice_Text::line( $callback->title ),
				'summary'    => Sluice_Text::plain( $callback->summary ),
				'artifacts'  => wp_json_encode( $callback->artifacts ),
				'created_at' => time(),
			)
		);
	}

	/**
	 * The proposal for a post.
	 *
	 * @param int $post_id The post.
	 */
	public static function for_post( int $post_id ): ?object {
		global $wpdb;
		$table = Sluice_Schema::table( 'proposals' );
		return $wpdb->get_row( $wpdb->prepare( "SELECT * FROM $table WHERE post_id = %d ORDER BY created_at DESC LIMIT 1", $post_id ) );
	}

	/** How many wait. */
	public static function count(): int {
		global $wpdb;
		$table = Sluice_Schema::table( 'proposals' );
		return (int) $wpdb->get_var( "SELECT COUNT(*) FROM $table" );
	}

	/**
	 * Title and content of a post as a proposal would have them. It is stored as plain text, so it is
	 * made HTML text first, as results come.
	 *
	 * @param object $proposal The row.
	 */
	public static function fields( object $proposal ): array {
		return Sluice_Posts::fields(
			Sluice_Text::html( $proposal->title ),
			Sluice_Text::html( $proposal->summary ),
			array(
				'job_id' => $proposal->job_id,
				'type'   => $proposal->type,
			)
		);
	}

	/**
	 * Writes a proposal over its post, as the present user and with a revision. From then on the
	 * gateway's updates flow again.
	 *
	 * @param object $proposal The row.
	 * @return int|WP_Error
	 */
	public static function accept( object $proposal ): int|WP_Error {
		global $wpdb;
		$post_id = (int) $proposal->post_id;
		$fields  = self::fields( $proposal );
		$written = wp_update_post(
			wp_slash(
				$fields + array(
					'ID'         => $post_id,
					'meta_input' => array(
						'_sluice_job_id'    => $proposal->job_id,
						'_sluice_title'     => $proposal->title,
						'_sluice_summary'   => $proposal->summary,
						'_sluice_artifacts' => $proposal->artifacts,
					),
				)
			),
			true
		);
		if ( is_wp_error( $written ) ) {
			return $written;
		}
		$post = get_post( $post_id );
		$wpdb->update(
			Sluice_Schema::table( 'subjects' ),
			array(
				'applied_hash'   => Sluice_Posts::hash( $post ),
				'applied_status' => $post->post_status,
			),
			array( 'post_key' => $proposal->post_key )
		);
		self::drop( $proposal );
		return $written;
	}

	/**
	 * Forgets a proposal, unless a newer one took its place meanwhile.
	 *
	 * @param object $proposal The row.
	 */
	public static function drop( object $proposal ): void {
		global $wpdb;
		$wpdb->delete(
			Sluice_Schema::table( 'proposals' ),
			array(
				'post_key' => $proposal->post_key,
				'job_id'   => $proposal->job_id,
			)
		);
	}
}
