<?php
/**
 * Removal. Rights and the recurring event always go; jobs, settings and keys as the settings say; posts
 * stay.
 *
 * @package Sluice
 */

defined( 'WP_UNINSTALL_PLUGIN' ) || exit;

require_once __DIR__ . '/includes/class-sluice-caps.php';
require_once __DIR__ . '/includes/class-sluice-schema.php';
require_once __DIR__ . '/includes/class-sluice-options.php';

/** Removes what one site holds. */
function sluice_uninstall_site(): void {
	wp_clear_scheduled_hook( 'sluice_sweep' );
	Sluice_Caps::revoke();
	if ( ! (int) get_option( 'sluice_remove_data', 0 ) ) {
		return;
	}
	Sluice_Schema::drop();
	array_map( 'delete_option', Sluice_Options::NAMES );
	foreach ( array( '_sluice_post_key', '_sluice_job_id', '_sluice_type', '_sluice_mode', '_sluice_trace_id', '_sluice_title', '_sluice_summary', '_sluice_artifacts' ) as $sluice_key ) {
		delete_post_meta_by_key( $sluice_key );
	}
	delete_metadata( 'user', 0, 'sluice_notify', '', true );
	delete_metadata( 'user', 0, 'sluice_jobs_per_page', '', true );
}

if ( is_multisite() ) {
	$sluice_offset = 0;
	do {
		$sluice_sites = get_sites(
			array(
				'fields' => 'ids',
				'number' => 100,
				'offset' => $sluice_offset,
			)
		);
		foreach ( $sluice_sites as $sluice_site ) {
			switch_to_blog( $sluice_site );
			sluice_uninstall_site();
			restore_current_blog();
		}
		$sluice_offset += 100;
	} while ( count( $sluice_sites ) === 100 );
} else {
	sluice_uninstall_site();
}
