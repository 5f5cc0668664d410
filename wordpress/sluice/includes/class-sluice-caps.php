<?php
/**
 * Capabilities.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Who may see jobs and who may change settings.
 */
final class Sluice_Caps {

	/** See jobs, ask for a retry, dismiss. */
	public const VIEW = 'sluice_view_jobs';
	/** Change settings. */
	public const MANAGE = 'sluice_manage';

	/** Grants them to the roles that have such rights on posts. */
	public static function grant(): void {
		foreach ( array( 'administrator', 'editor' ) as $name ) {
			$role = get_role( $name );
			if ( $role ) {
				$role->add_cap( self::VIEW );
			}
		}
		$administrator = get_role( 'administrator' );
		if ( $administrator ) {
			$administrator->add_cap( self::MANAGE );
		}
	}

	/** Takes them from all roles. */
	public static function revoke(): void {
		foreach ( array_keys( wp_roles()->roles ) as $name ) {
			$role = get_role( $name );
			$role->remove_cap( self::VIEW );
			$role->remove_cap( self::MANAGE );
		}
	}

	/**
	 * Whether the present user may see and act on a job.
	 *
	 * A job with a post is as private as its post.
	 *
	 * @param object $job A row of the table of jobs.
	 */
	public static function may_see( object $job ): bool {
		if ( ! current_user_can( self::VIEW ) ) {
			return false;
		}
		return ! $job->post_id || ! get_post( (int) $job->post_id ) || current_user_can( 'edit_post', (int) $job->post_id );
	}
}
