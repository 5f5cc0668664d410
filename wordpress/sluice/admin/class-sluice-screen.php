<?php
/**
 * The jobs screen.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Editors see what became of their automations. No payload, no token, nothing that is not for them.
 */
final class Sluice_Screen {

	/** Before output: screen options, help. */
	public static function load(): void {
		require_once __DIR__ . '/class-sluice-jobs-table.php';
		add_screen_option(
			'per_page',
			array(
				'label'   => __( 'Jobs per page', 'sluice' ),
				'default' => 20,
				'option'  => 'sluice_jobs_per_page',
			)
		);
		get_current_screen()->add_help_tab(
			array(
				'id'      => 'sluice',
				'title'   => __( 'What is this?', 'sluice' ),
				'content' => '<p>' . esc_html__( 'Each line is one piece of work that the gateway does because another service told it something. The gateway reports changes to this site by itself; this page refreshes while you look at it.', 'sluice' ) . '</p>',
			)
		);
	}

	/** The page. */
	public static function render(): void {
		if ( ! current_user_can( Sluice_Caps::VIEW ) ) {
			return;
		}
		$table = new Sluice_Jobs_Table();
		$table->prepare_items();
		echo '<div class="wrap"><h1 class="wp-heading-inline">' . esc_html__( 'Sluice jobs', 'sluice' ) . '</h1><hr class="wp-header-end">';
		Sluice_Admin::notice();
		self::last_seen();
		echo '<p id="sluice-live" class="screen-reader-text" role="status" aria-live="polite"></p>';
		$table->views();
		echo '<form method="get"><input type="hidden" name="page" value="sluice">';
		$state = Sluice_Jobs_Table::filter()['state'];
		if ( '' !== $state ) {
			echo '<input type="hidden" name="state" value="' . esc_attr( $state ) . '">';
		}
		$table->search_box( __( 'Search jobs', 'sluice' ), 'sluice-jobs' );
		echo '</form>';
		$table->display();
		echo '</div>';
	}

	/** When the gateway was last heard. */
	private static function last_seen(): void {
		$seen = max( Sluice_Options::seen()['at'], Sluice_Pull::heard_at() );
		$text = $seen
			/* translators: %s: a time such as "5 minutes ago". */
			? sprintf( __( 'The gateway last reported %s.', 'sluice' ), self::ago( $seen ) )
			: __( 'The gateway has not reported yet.', 'sluice' );
		$waiting = Sluice_Proposals::count();
		if ( $waiting ) {
			/* translators: %d: how many. */
			$text .= ' ' . sprintf( _n( '%d update waits for somebody, since the post was changed by hand.', '%d updates wait for somebody, since the posts were changed by hand.', $waiting, 'sluice' ), $waiting );
		}
		echo '<p class="sluice-seen">' . esc_html( $text ) . '</p>';
	}

	/**
	 * A time in the past or future, in words.
	 *
	 * @param int $at Unix seconds.
	 */
	public static function ago( int $at ): string {
		$now = time();
		if ( abs( $now - $at ) < 5 ) {
			return __( 'just now', 'sluice' );
		}
		$span = human_time_diff( $at, $now );
		/* translators: %s: a span such as "5 minutes". */
		return $at > $now ? sprintf( __( 'in %s', 'sluice' ), $span ) : sprintf( __( '%s ago', 'sluice' ), $span );
	}

	/**
	 * When a job is tried next.
	 *
	 * @param object $job The row.
	 */
	public static function next_text( object $job ): string {
		return in_array( $job->state, array( 'pending', 'failed' ), true ) && $job->next_run_at ? self::ago( (int) $job->next_run_at ) : '';
	}
}
