<?php
/**
 * The dashboard widget.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Counts and the last troubles.
 */
final class Sluice_Widget {

	/** Hooks. */
	public static function hooks(): void {
		add_action( 'wp_dashboard_setup', array( self::class, 'add' ) );
	}

	/** Adds it for those who may see jobs. */
	public static function add(): void {
		if ( current_user_can( Sluice_Caps::VIEW ) ) {
			wp_add_dashboard_widget( 'sluice_jobs', __( 'Automations (Sluice)', 'sluice' ), array( self::class, 'render' ) );
		}
	}

	/** The widget. */
	public static function render(): void {
		$counts = Sluice_Jobs::counts();
		echo '<ul class="sluice-counts">';
		foreach ( array( 'running', 'pending', 'failed', 'deadletter', 'succeeded' ) as $state ) {
			printf(
				'<li><a href="%s"><strong>%s</strong> %s</a></li>',
				esc_url( admin_url( 'admin.php?page=sluice&state=' . $state ) ),
				esc_html( number_format_i18n( $counts[ $state ] ) ),
				esc_html( Sluice_Words::state( $state ) )
			);
		}
		echo '</ul>';
		$troubles = array_filter( array_merge( Sluice_Jobs::page( array( 'state' => 'deadletter' ), 3 ), Sluice_Jobs::page( array( 'state' => 'failed' ), 3 ) ), array( 'Sluice_Caps', 'may_see' ) );
		if ( ! $troubles ) {
			echo '<p>' . esc_html__( 'Nothing is in trouble.', 'sluice' ) . '</p>';
			return;
		}
		echo '<ul class="sluice-troubles">';
		foreach ( $troubles as $job ) {
			printf(
				'<li><span class="sluice-state sluice-state-%s">%s</span> %s <span class="sluice-quiet">%s</span><br>%s</li>',
				esc_attr( $job->state ),
				esc_html( Sluice_Words::state( $job->state ) ),
				esc_html( $job->type ),
				esc_html( Sluice_Screen::ago( intdiv( (int) $job->updated_at, 1000000 ) ) ),
				esc_html( Sluice_Words::error( $job->last_error, $job->state ) )
			);
		}
		echo '</ul><p><a href="' . esc_url( admin_url( 'admin.php?page=sluice' ) ) . '">' . esc_html__( 'All jobs', 'sluice' ) . '</a></p>';
	}
}
