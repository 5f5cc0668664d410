<?php
/**
 * Privacy.
 *
 * @package Sluice
 */

defined( 'ABSPATH' ) || exit;

/**
 * What the plugin knows of people here: their choice of mails, and what they asked of the gateway.
 */
final class Sluice_Privacy {

	private const PER_PAGE = 100;

	/** Hooks. */
	public static function hooks(): void {
		add_filter( 'wp_privacy_personal_data_exporters', array( self::class, 'exporters' ) );
		add_filter( 'wp_privacy_personal_data_erasers', array( self::class, 'erasers' ) );
		add_action( 'admin_init', array( self::class, 'policy' ) );
		add_action( 'deleted_user', array( self::class, 'forget' ) );
	}

	/**
	 * Adds the exporter.
	 *
	 * @param array $exporters Exporters.
	 */
	public static function exporters( array $exporters ): array {
		$exporters['sluice'] = array(
			'exporter_friendly_name' => 'Sluice',
			'callback'               => array( self::class, 'export' ),
		);
		return $exporters;
	}

	/**
	 * Adds the eraser.
	 *
	 * @param array $erasers Erasers.
	 */
	public static function erasers( array $erasers ): array {
		$erasers['sluice'] = array(
			'eraser_friendly_name' => 'Sluice',
			'callback'             => array( self::class, 'erase' ),
		);
		return $erasers;
	}

	/**
	 * What is known of somebody.
	 *
	 * @param string $email Whose.
	 * @param int    $page  The page, from 1.
	 */
	public static function export( string $email, int $page = 1 ): array {
		global $wpdb;
		$user = get_user_by( 'email', $email );
		$data = array();
		$rows = array();
		if ( $user ) {
			$choice = (string) get_user_meta( $user->ID, Sluice_Mailer::META, true );
			if ( 1 === $page && '' !== $choice ) {
				$data[] = self::item( 'choice', array( __( 'Mails about results', 'sluice' ) => Sluice_Mailer::choices()[ $choice ] ?? $choice ) );
			}
			$table = Sluice_Schema::table( 'requests' );
			$rows  = $wpdb->get_results( $wpdb->prepare( "SELECT * FROM $table WHERE user_id = %d ORDER BY id LIMIT %d OFFSET %d", $user->ID, self::PER_PAGE, ( $page - 1 ) * self::PER_PAGE ) );
			foreach ( $rows as $row ) {
				$data[] = self::item(
					'request-' . $row->id,
					array(
						__( 'Asked of the gateway', 'sluice' ) => $row->kind,
						__( 'Job', 'sluice' )  => $row->job_id,
						__( 'When', 'sluice' ) => gmdate( 'c', (int) $row->created_at ),
					)
				);
			}
		}
		return array(
			'data' => $data,
			'done' => count( $rows ) < self::PER_PAGE,
		);
	}

	/**
	 * One exported item.
	 *
	 * @param string               $id     Its id.
	 * @param array<string,string> $fields Names and values.
	 */
	private static function item( string $id, array $fields ): array {
		$data = array();
		foreach ( $fields as $name => $value ) {
			$data[] = compact( 'name', 'value' );
		}
		return array(
			'group_id'    => 'sluice',
			'group_label' => 'Sluice',
			'item_id'     => 'sluice-' . $id,
			'data'        => $data,
		);
	}

	/**
	 * Forgets somebody.
	 *
	 * @param string $email Whom.
	 */
	public static function erase( string $email ): array {
		$user    = get_user_by( 'email', $email );
		$removed = $user && self::forget( $user->ID );
		return array(
			'items_removed'  => $removed,
			'items_retained' => false,
			'messages'       => array(),
			'done'           => true,
		);
	}

	/**
	 * Forgets a user.
	 *
	 * @param int $user_id Whom.
	 */
	public static function forget( int $user_id ): bool {
		global $wpdb;
		$choice = delete_user_meta( $user_id, Sluice_Mailer::META );
		$rows   = $wpdb->update( Sluice_Schema::table( 'requests' ), array( 'user_id' => 0 ), array( 'user_id' => $user_id ) );
		$mails  = $wpdb->delete( Sluice_Schema::table( 'outbox' ), array( 'action' => 'mail:' . $user_id ) );
		return $choice || $rows || $mails;
	}

	/** A suggestion for the privacy policy. */
	public static function policy(): void {
		wp_add_privacy_policy_content(
			'Sluice',
			'<p>' . esc_html__( 'Results of automations reach this site from a gateway that its operator runs. They may hold personal data that other services sent to that gateway. This site keeps for each editor which mails they asked for and, for 30 days, what they asked the gateway to do again.', 'sluice' ) . '</p>'
		);
	}
}
