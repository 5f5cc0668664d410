<?php
/**
 * The table of jobs.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

require_once ABSPATH . 'wp-admin/includes/class-wp-list-table.php';

/**
 * The list on the jobs screen.
 */
final class Sluice_Jobs_Table extends WP_List_Table {

	/**
	 * Open requests by job.
	 *
	 * @var array<string,string>
	 */
	private array $open = array();

	/** A table of jobs. */
	public function __construct() {
		parent::__construct(
			array(
				'singular' => 'sluice-job',
				'plural'   => 'sluice-jobs',
				'ajax'     => false,
			)
		);
	}

	/**
	 * What is looked for.
	 *
	 * @return array{state:string,search:string}
	 */
	public static function filter(): array {
		// phpcs:disable WordPress.Security.NonceVerification.Recommended -- looking changes nothing.
		$state  = isset( $_GET['state'] ) && is_string( $_GET['state'] ) ? sanitize_key( $_GET['state'] ) : '';
		$search = isset( $_GET['s'] ) && is_string( $_GET['s'] ) ? sanitize_text_field( wp_unslash( $_GET['s'] ) ) : '';
		// phpcs:enable
		return array(
			'state'  => in_array( $state, Sluice_Status::STATES, true ) ? $state : '',
			'search' => mb_substr( $search, 0, 100, 'UTF-8' ),
		);
	}

	/**
	 * Columns.
	 */
	public function get_columns(): array {
		return array(
			'job'      => __( 'Job', 'sluice' ),
			'state'    => __( 'State', 'sluice' ),
			'error'    => __( 'What went wrong', 'sluice' ),
			'attempts' => __( 'Tries', 'sluice' ),
			'next'     => __( 'Next try', 'sluice' ),
			'post'     => __( 'Post', 'sluice' ),
			'updated'  => __( 'Changed', 'sluice' ),
		);
	}

	/** The column that stays on small screens. */
	protected function get_default_primary_column_name(): string {
		return 'job';
	}

	/** Loads a page. */
	public function prepare_items(): void {
		$filter                = self::filter();
		$per_page              = $this->get_items_per_page( 'sluice_jobs_per_page', 20 );
		$this->_column_headers = array( $this->get_columns(), array(), array(), 'job' );
		$rows                  = Sluice_Jobs::page( $filter, $per_page, ( $this->get_pagenum() - 1 ) * $per_page );
		$this->items           = array_values( array_filter( $rows, array( 'Sluice_Caps', 'may_see' ) ) );
		$this->open            = Sluice_Requests::open_for( array_column( $this->items, 'job_id' ) );
		$this->set_pagination_args(
			array(
				'total_items' => Sluice_Jobs::count( $filter ),
				'per_page'    => $per_page,
			)
		);
	}

	/** What an empty table says. */
	public function no_items(): void {
		esc_html_e( 'No jobs. They appear here when the gateway reports.', 'sluice' );
	}

	/**
	 * Links to each state.
	 */
	protected function get_views(): array {
		$now    = self::filter()['state'];
		$counts = Sluice_Jobs::counts();
		$views  = array( 'all' => $this->view( '', __( 'All', 'sluice' ), array_sum( $counts ), $now ) );
		foreach ( Sluice_Words::states() as $state => $label ) {
			if ( $counts[ $state ] || $state === $now ) {
				$views[ $state ] = $this->view( $state, $label, $counts[ $state ], $now );
			}
		}
		return $views;
	}

	/**
	 * One such link.
	 *
	 * @param string $state The state.
	 * @param string $label Its name.
	 * @param int    $count How many.
	 * @param string $now   The state that is shown.
	 */
	private function view( string $state, string $label, int $count, string $now ): string {
		$url = admin_url( 'admin.php?page=sluice' . ( '' === $state ? '' : '&state=' . $state ) );
		return sprintf(
			'<a href="%s"%s>%s <span class="count" data-sluice-count="%s">(%s)</span></a>',
			esc_url( $url ),
			$state === $now ? ' class="current" aria-current="page"' : '',
			esc_html( $label ),
			esc_attr( $state ),
			esc_html( number_format_i18n( $count ) )
		);
	}

	/**
	 * A row.
	 *
	 * @param object $item The job.
	 */
	public function single_row( $item ): void {
		echo '<tr data-sluice-job="' . esc_attr( $item->job_id ) . '" data-sluice-state="' . esc_attr( $item->state ) . '">';
		$this->single_row_columns( $item );
		echo '</tr>';
	}

	/**
	 * What the job is, and what can be asked for it.
	 *
	 * @param object $item The job.
	 */
	public function column_job( object $item ): string {
		$what = '<strong>' . esc_html( $item->type ) . '</strong>';
		if ( '' !== $item->source ) {
			/* translators: 1: a source of events such as "payments", 2: a route such as "invoices". */
			$what .= '<br><span class="sluice-quiet">' . esc_html( sprintf( __( '%1$s, route %2$s', 'sluice' ), $item->source, $item->route ) ) . '</span>';
		}
		return $what . '<br><code class="sluice-id" dir="ltr">' . esc_html( $item->job_id ) . '</code>' . $this->buttons( $item );
	}

	/**
	 * The buttons of a job.
	 *
	 * @param object $item The job.
	 */
	private function buttons( object $item ): string {
		$asked = $this->open[ $item->job_id ] ?? '';
		if ( '' !== $asked ) {
			$words = 'retry' === $asked ? __( 'Retry was asked for.', 'sluice' ) : __( 'Dismissal was asked for.', 'sluice' );
			return '<p class="sluice-quiet">' . esc_html( $words ) . '</p>';
		}
		if ( ! in_array( $item->state, array( 'failed', 'deadletter' ), true ) ) {
			return '';
		}
		// What failed is tried again by itself.
		/* translators: %s: a job's id. */
		$retry = 'failed' === $item->state ? '' : Sluice_Admin::button( 'retry', $item->job_id, __( 'Retry', 'sluice' ), sprintf( __( 'Retry job %s', 'sluice' ), $item->job_id ) );
		/* translators: %s: a job's id. */
		$dismiss = Sluice_Admin::button( 'dismiss', $item->job_id, __( 'Dismiss', 'sluice' ), sprintf( __( 'Dismiss job %s', 'sluice' ), $item->job_id ) );
		return '<div class="sluice-actions">' . $retry . $dismiss . '</div>';
	}

	/**
	 * The state: a word, not only a colour.
	 *
	 * @param object $item The job.
	 */
	public function column_state( object $item ): string {
		return '<span class="sluice-state sluice-state-' . esc_attr( $item->state ) . '" data-sluice="label">' . esc_html( Sluice_Words::state( $item->state ) ) . '</span>';
	}

	/**
	 * What went wrong last.
	 *
	 * @param object $item The job.
	 */
	public function column_error( object $item ): string {
		return '<span data-sluice="error">' . esc_html( Sluice_Words::error( $item->last_error, $item->state ) ) . '</span>';
	}

	/**
	 * How often it was tried.
	 *
	 * @param object $item The job.
	 */
	public function column_attempts( object $item ): string {
		return '<span data-sluice="attempts">' . esc_html( number_format_i18n( (int) $item->attempts ) ) . '</span>';
	}

	/**
	 * When it is tried next.
	 *
	 * @param object $item The job.
	 */
	public function column_next( object $item ): string {
		return '<span data-sluice="next">' . esc_html( Sluice_Screen::next_text( $item ) ) . '</span>';
	}

	/**
	 * Its post.
	 *
	 * @param object $item The job.
	 */
	public function column_post( object $item ): string {
		$post = $item->post_id ? get_post( (int) $item->post_id ) : null;
		if ( ! $post ) {
			return '<span aria-hidden="true">—</span><span class="screen-reader-text">' . esc_html__( 'No post', 'sluice' ) . '</span>';
		}
		$title = Sluice_Text::line( $post->post_title );
		return '<a href="' . esc_url( (string) get_edit_post_link( $post->ID, 'raw' ) ) . '">' . esc_html( '' === $title ? __( '(no title)', 'sluice' ) : $title ) . '</a>';
	}

	/**
	 * When it changed.
	 *
	 * @param object $item The job.
	 */
	public function column_updated( object $item ): string {
		$at = intdiv( (int) $item->updated_at, 1000000 );
		return '<time datetime="' . esc_attr( gmdate( 'c', $at ) ) . '" title="' . esc_attr( (string) wp_date( 'Y-m-d H:i:s', $at ) ) . '" data-sluice="updated">' . esc_html( Sluice_Screen::ago( $at ) ) . '</time>';
	}
}
