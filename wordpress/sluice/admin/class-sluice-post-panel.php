<?php
/**
 * Posts that came from a job.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * A column in lists of posts, and a panel beside each post that came from a job.
 */
final class Sluice_Post_Panel {

	/** Hooks. */
	public static function hooks(): void {
		add_action( 'admin_init', array( self::class, 'columns' ) );
		add_action( 'add_meta_boxes', array( self::class, 'add' ), 10, 2 );
		add_action( 'admin_notices', array( self::class, 'notice' ) );
		add_action( 'enqueue_block_editor_assets', array( self::class, 'tell_editor' ) );
	}

	/** The block editor hides panels and notices of PHP, so that an update that waits is told by a notice of its own. */
	public static function tell_editor(): void {
		$post     = get_post();
		$proposal = $post && current_user_can( 'edit_post', $post->ID ) ? Sluice_Proposals::for_post( $post->ID ) : null;
		if ( ! $proposal ) {
			return;
		}
		wp_enqueue_script( 'sluice-editor', plugins_url( 'assets/editor.js', SLUICE_FILE ), array( 'wp-data', 'wp-notices', 'wp-dom-ready' ), SLUICE_VERSION, true );
		$waits = array(
			'text'   => __( 'A newer result waits, since somebody changed this post.', 'sluice' ),
			'decide' => __( 'Decide', 'sluice' ),
			'url'    => esc_url_raw( self::decision_url( $post->ID ) ),
		);
		wp_add_inline_script( 'sluice-editor', 'window.sluiceWaits = ' . wp_json_encode( $waits, JSON_HEX_TAG | JSON_HEX_AMP ) . ';', 'before' );
	}

	/** The column, for each type of post that jobs write. */
	public static function columns(): void {
		foreach ( array_unique( array_column( Sluice_Options::types(), 'post_type' ) ) as $post_type ) {
			add_filter( "manage_{$post_type}_posts_columns", array( self::class, 'column' ) );
			add_action( "manage_{$post_type}_posts_custom_column", array( self::class, 'cell' ), 10, 2 );
		}
	}

	/**
	 * Adds the column.
	 *
	 * @param array $columns Columns.
	 */
	public static function column( array $columns ): array {
		if ( current_user_can( Sluice_Caps::VIEW ) ) {
			$columns['sluice'] = __( 'Sluice', 'sluice' );
		}
		return $columns;
	}

	/**
	 * A cell of it.
	 *
	 * @param string $column  The column.
	 * @param int    $post_id The post.
	 */
	public static function cell( string $column, int $post_id ): void {
		if ( 'sluice' !== $column || ! current_user_can( Sluice_Caps::VIEW ) || '' === (string) get_post_meta( $post_id, '_sluice_job_id', true ) ) {
			return;
		}
		echo Sluice_Proposals::for_post( $post_id ) && current_user_can( 'edit_post', $post_id )
			? '<span class="sluice-state sluice-state-failed">' . esc_html__( 'Update waits', 'sluice' ) . '</span>'
			: esc_html__( 'From a job', 'sluice' );
	}

	/**
	 * Adds the panel.
	 *
	 * @param string       $post_type The type.
	 * @param WP_Post|null $post      The post.
	 */
	public static function add( string $post_type, mixed $post = null ): void {
		if ( $post instanceof WP_Post && current_user_can( 'edit_post', $post->ID ) && '' !== (string) get_post_meta( $post->ID, '_sluice_job_id', true ) ) {
			add_meta_box( 'sluice', __( 'Sluice', 'sluice' ), array( self::class, 'render' ), $post_type, 'normal', 'high', array( '__block_editor_compatible_meta_box' => true ) );
		}
	}

	/**
	 * The panel. Its forms are links: forms cannot be nested in the editor's.
	 *
	 * @param WP_Post $post The post.
	 */
	public static function render( WP_Post $post ): void {
		$proposal = Sluice_Proposals::for_post( $post->ID );
		if ( $proposal ) {
			self::proposal( $post, $proposal );
		}
		if ( current_user_can( Sluice_Caps::VIEW ) ) {
			$jobs = Sluice_Jobs::page( array( 'post_id' => $post->ID ), 5 );
			if ( $jobs ) {
				echo '<ul>';
				foreach ( $jobs as $job ) {
					printf(
						'<li><span class="sluice-state sluice-state-%s">%s</span> %s <code class="sluice-id" dir="ltr">%s</code> <span class="sluice-quiet">%s</span></li>',
						esc_attr( $job->state ),
						esc_html( Sluice_Words::state( $job->state ) ),
						esc_html( $job->type ),
						esc_html( $job->job_id ),
						esc_html( Sluice_Screen::ago( intdiv( (int) $job->updated_at, 1000000 ) ) )
					);
				}
				echo '</ul>';
			}
		}
		if ( 'meta' === get_post_meta( $post->ID, '_sluice_mode', true ) ) {
			echo '<h4>' . esc_html( (string) get_post_meta( $post->ID, '_sluice_title', true ) ) . '</h4>';
			echo '<p>' . nl2br( esc_html( (string) get_post_meta( $post->ID, '_sluice_summary', true ) ) ) . '</p>';
		}
		self::artifacts( $post->ID, Sluice_Posts::artifacts( $post->ID ) );
	}

	/**
	 * Links to what the job produced. They are shown to editors and are no part of the post. A site that may ask
	 * its gateway has links that stay; elsewhere they are those that came with the result, and expire.
	 *
	 * @param int   $post_id   The post.
	 * @param array $artifacts The artifacts.
	 */
	private static function artifacts( int $post_id, array $artifacts ): void {
		if ( ! $artifacts ) {
			return;
		}
		$stays = Sluice_Pull::is_on() && current_user_can( 'edit_post', $post_id );
		echo '<h4>' . esc_html__( 'Files', 'sluice' ) . '</h4><ul>';
		foreach ( $artifacts as $artifact ) {
			$expires = $artifact['expires_at'] ?? null;
			$id      = $artifact['id'] ?? '';
			if ( $stays && is_string( $id ) && 1 === preg_match( Sluice_Callback::ARTIFACT_ID, $id ) ) {
				printf(
					'<li><a href="%s" rel="noopener noreferrer nofollow" target="_blank">%s</a></li>',
					esc_url( Sluice_Admin::file_url( $post_id, $id ) ),
					esc_html( $artifact['type'] )
				);
				continue;
			}
			if ( is_int( $expires ) && $expires <= time() ) {
				echo '<li>' . esc_html( $artifact['type'] ) . ' <span class="sluice-quiet">' . esc_html__( 'expired', 'sluice' ) . '</span></li>';
				continue;
			}
			/* translators: %s: a time such as "in 5 minutes". */
			$until = is_int( $expires ) ? sprintf( __( 'expires %s', 'sluice' ), Sluice_Screen::ago( $expires ) ) : '';
			printf(
				'<li><a href="%s" rel="noopener noreferrer nofollow" target="_blank">%s</a> <span class="sluice-quiet">%s</span></li>',
				esc_url( $artifact['url'], array( 'https' ) ),
				esc_html( $artifact['type'] ),
				esc_html( $until )
			);
		}
		echo '</ul>';
	}

	/**
	 * An update that waits, in the panel.
	 *
	 * @param WP_Post $post     The post.
	 * @param object  $proposal The row.
	 */
	private static function proposal( WP_Post $post, object $proposal ): void {
		echo '<div class="sluice-proposal"><h4>' . esc_html__( 'A newer result waits, since somebody changed this post', 'sluice' ) . '</h4>';
		self::compare( $post, $proposal );
		printf(
			'<p>%s <a class="button button-primary" href="%s">%s</a></p></div>',
			esc_html__( 'Save your own changes first.', 'sluice' ),
			esc_url( self::decision_url( $post->ID ) ),
			esc_html__( 'Decide', 'sluice' )
		);
	}

	/**
	 * What an update would change.
	 *
	 * @param WP_Post $post     The post.
	 * @param object  $proposal The row.
	 */
	private static function compare( WP_Post $post, object $proposal ): void {
		$fields = Sluice_Proposals::fields( $proposal );
		$diff   = wp_text_diff(
			Sluice_Text::line( $post->post_title ) . "\n" . Sluice_Text::plain( wp_strip_all_tags( $post->post_content ) ),
			Sluice_Text::line( $fields['post_title'] ) . "\n" . Sluice_Text::plain( wp_strip_all_tags( $fields['post_content'] ) ),
			array(
				'title_left'  => __( 'The post', 'sluice' ),
				'title_right' => __( 'The update', 'sluice' ),
			)
		);
		// wp_text_diff() escapes both texts.
		echo $diff ? $diff : '<p>' . esc_html__( 'The text is the same.', 'sluice' ) . '</p>'; // phpcs:ignore WordPress.Security.EscapeOutput.OutputNotEscaped
	}

	/**
	 * The list of posts, asking about this one.
	 *
	 * @param int $post_id The post.
	 */
	private static function decision_url( int $post_id ): string {
		return admin_url( 'edit.php?post_type=' . get_post_type( $post_id ) . '&sluice_decide=' . $post_id );
	}

	/** Tells the classic editor of an update that waits. */
	private static function tell_classic(): void {
		$post = get_post();
		if ( $post && current_user_can( 'edit_post', $post->ID ) && Sluice_Proposals::for_post( $post->ID ) ) {
			printf(
				'<div class="notice notice-warning"><p>%s <a href="%s">%s</a></p></div>',
				esc_html__( 'A newer result waits, since somebody changed this post.', 'sluice' ),
				esc_url( self::decision_url( $post->ID ) ),
				esc_html__( 'Decide', 'sluice' )
			);
		}
	}

	/** Asks about one post on the list of posts, and says what became of the answer. */
	public static function notice(): void {
		$base = get_current_screen()->base ?? '';
		if ( 'post' === $base ) {
			self::tell_classic();
		}
		if ( 'edit' !== $base ) {
			return;
		}
		Sluice_Admin::notice();
		// phpcs:ignore WordPress.Security.NonceVerification.Recommended -- shows a question.
		$post_id  = isset( $_GET['sluice_decide'] ) && is_string( $_GET['sluice_decide'] ) ? (int) $_GET['sluice_decide'] : 0;
		$proposal = $post_id && current_user_can( 'edit_post', $post_id ) ? Sluice_Proposals::for_post( $post_id ) : null;
		if ( ! $proposal ) {
			return;
		}
		/* translators: %s: a post's title. */
		$question = sprintf( __( 'Replace the text of “%s” with the newer result? The present text stays among the revisions.', 'sluice' ), Sluice_Text::line( (string) get_post_field( 'post_title', $post_id, 'raw' ) ) );
		echo '<div class="notice notice-warning"><p>' . esc_html( $question ) . '</p>';
		self::compare( get_post( $post_id ), $proposal );
		echo '<div class="sluice-actions">';
		// phpcs:disable WordPress.Security.EscapeOutput.OutputNotEscaped -- button() escapes.
		echo Sluice_Admin::button( 'accept', (string) $post_id, __( 'Take the update', 'sluice' ) );
		echo Sluice_Admin::button( 'decline', (string) $post_id, __( 'Drop the update', 'sluice' ) );
		// phpcs:enable
		echo '</div></div>';
	}
}
