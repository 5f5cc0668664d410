<?php
/**
 * Notices to editors.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * Mails to those who asked for them in their profile: at once, or as a digest.
 */
final class Sluice_Mailer {

	public const META = 'sluice_notify';

	/**
	 * What a person can choose.
	 *
	 * @return array<string,string>
	 */
	public static function choices(): array {
		return array(
			''       => __( 'No mail', 'sluice' ),
			'each'   => __( 'A mail soon after each result', 'sluice' ),
			'hourly' => __( 'A digest each hour', 'sluice' ),
			'daily'  => __( 'A digest each day', 'sluice' ),
		);
	}

	/**
	 * Writes a row for each person who is to be told of a result.
	 *
	 * @param string $job_id The job.
	 * @param array  $info   What the outbox holds of it.
	 */
	public static function address( string $job_id, array $info ): bool {
		$post_id = (int) $info['post_id'];
		$users   = get_users(
			array(
				'meta_key'     => self::META,
				'meta_value'   => array( 'each', 'hourly', 'daily' ),
				'meta_compare' => 'IN',
				'number'       => 200,
			)
		);
		foreach ( $users as $user ) {
			if ( ! user_can( $user, Sluice_Caps::VIEW ) || ( get_post( $post_id ) && ! user_can( $user, 'edit_post', $post_id ) ) ) {
				continue;
			}
			$slot = array(
				'each'   => 1,
				'hourly' => HOUR_IN_SECONDS,
				'daily'  => DAY_IN_SECONDS,
			)[ get_user_meta( $user->ID, self::META, true ) ] ?? 1;
			$due  = 1 === $slot ? time() : ( intdiv( time(), $slot ) + 1 ) * $slot;
			if ( ! Sluice_Outbox::add( $job_id, 'mail:' . $user->ID, $info, $due ) ) {
				return false;
			}
		}
		return true;
	}

	/**
	 * Sends one mail about some results.
	 *
	 * @param int     $user_id To whom.
	 * @param array[] $infos   The results.
	 */
	public static function send( int $user_id, array $infos ): bool {
		$user = get_userdata( $user_id );
		if ( ! $user || '' === (string) get_user_meta( $user_id, self::META, true ) ) {
			return true;
		}
		$language = switch_to_locale( get_user_locale( $user ) );
		$lines    = array_filter( array_map( array( self::class, 'about' ), $infos ) );
		$sent     = true;
		if ( $lines ) {
			$site = wp_specialchars_decode( (string) get_option( 'blogname' ), ENT_QUOTES );
			/* translators: 1: the site's name, 2: how many results. */
			$subject = sprintf( _n( '[%1$s] %2$d new result', '[%1$s] %2$d new results', count( $lines ), 'sluice' ), $site, count( $lines ) );
			$body    = implode( "\n\n", $lines ) . "\n\n-- \n" . __( 'You get this mail because of your choice in your profile:', 'sluice' ) . "\n" . admin_url( 'profile.php#sluice_notify' ) . "\n";
			$sent    = wp_mail( $user->user_email, $subject, $body );
		}
		if ( $language ) {
			restore_previous_locale();
		}
		return $sent;
	}

	/**
	 * A few lines of plain text about a result.
	 *
	 * @param array $info What the outbox holds of it.
	 */
	private static function about( array $info ): string {
		$post = get_post( (int) $info['post_id'] );
		if ( ! $post ) {
			return '';
		}
		$title = Sluice_Text::line( $post->post_title );
		$words = array(
			/* translators: %s: a post's title. */
			'created'  => __( 'New: %s', 'sluice' ),
			/* translators: %s: a post's title. */
			'applied'  => __( 'Updated: %s', 'sluice' ),
			/* translators: %s: a post's title. */
			'proposed' => __( 'An update waits for you, since somebody changed the post: %s', 'sluice' ),
		);
		return sprintf( $words[ $info['outcome'] ] ?? '%s', $title ) . "\n" . admin_url( 'post.php?post=' . $post->ID . '&action=edit' );
	}
}
